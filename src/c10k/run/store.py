"""The session folder: how it is made, continued, finished and read.

session.json   schema version, plan, seed, environment, conformance, what servers ran on
trials.jsonl   a line per trial, on disk before the next one starts
trials.torn    the beginning of a line that a crash cut short, kept apart
finished.json  when the session was finished, with a digest of its trials; nothing is added later
logs/          what each server wrote on standard error, shortened

Nothing that is written names the user's home folder (paths.hide_home).

The process that writes a session holds a lock on trials.jsonl, which the kernel releases when
the process ends. While a trial runs the folder itself is locked as well. A command that follows
the session waits for that lock and works only between two trials, because its work would
disturb what is measured.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from .. import paths
from ..errors import UserError, os_reason
from ..model import Measurement, Session
from . import upgrade

SCHEMA = 2
READABLE = (1, 2)  # 1: gates and causes were sentences (see upgrade.py)
HEAD = "session.json"
TRIALS = "trials.jsonl"
FINISHED = "finished.json"
LOGS = "logs"
FOLLOWERS_S = 5.0  # the longest that a trial waits for commands that follow the session
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Finished(msgspec.Struct, frozen=True):
    """The content of finished.json."""

    finished_at: str  # UTC, ISO 8601
    trials: int  # lines of trials.jsonl, with repeated trials
    sha256: str  # of trials.jsonl


class StoreError(UserError):
    """A folder that is not a session, or cannot be written; the message says which and why."""


class Writer:
    """A session folder that is open for writing. Its methods raise StoreError."""

    def __init__(self, folder: Path, file: IO[bytes]) -> None:
        self.folder = folder
        self._file = file
        # Opened now, as a trial at the limit of descriptors may leave none.
        self._opened = os.open(folder, os.O_RDONLY)

    @property
    def logs(self) -> Path:
        return self.folder / LOGS

    def append(self, measurement: Measurement) -> None:
        """Adds a trial's line, which is on disk on return."""
        line = memoryview(_encoded(measurement) + b"\n")
        try:
            while line:  # on a full disk a part of the line is written: a torn end
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            path = self.folder / TRIALS
            raise StoreError(f"{path}: cannot be written: {os_reason(error)}") from None

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Keeps followers of the session away while a trial runs; first lets them finish."""
        deadline = time.monotonic() + FOLLOWERS_S
        while not _lock(self._opened) and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(self._opened, fcntl.LOCK_UN)

    def finish(self, finished_at: str) -> None:
        """Closes the session for good: its files become read-only. The folder can be removed."""
        try:
            text = (self.folder / TRIALS).read_bytes()
            end = Finished(finished_at, text.count(b"\n"), hashlib.sha256(text).hexdigest())
            _write(self.folder / FINISHED, msgspec.json.encode(end))
            for name in (HEAD, TRIALS, FINISHED):
                (self.folder / name).chmod(0o444)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot be finished: {os_reason(error)}") from None

    def close(self) -> None:
        """Releases the folder; a session that is not finished can be resumed."""
        self._file.close()
        if self._opened >= 0:
            os.close(self._opened)
            self._opened = -1


@contextlib.contextmanager
def between_trials(folder: Path) -> Iterator[None]:
    """Waits until no trial runs; the next one waits for the end of the block. Raises StoreError."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read: {os_reason(error)}") from None
    try:
        fcntl.flock(opened, fcntl.LOCK_SH)
        yield
    finally:
        os.close(opened)


def size(folder: Path) -> int:
    """Bytes of the trials so far, which grow with every trial. Raises StoreError."""
    try:
        return (folder / TRIALS).stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"{folder / TRIALS}: cannot be read: {os_reason(error)}") from None


def _lock(opened: int) -> bool:
    """Takes the lock if it is free; whether this succeeded, or the file system has no locks."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def create(folder: Path, session: Session) -> Writer:
    """Makes the folder with its head. Raises StoreError when it already holds a session."""
    _refuse_taken(folder)
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
        writer = Writer(folder, _locked(folder))
        with contextlib.ExitStack() as unless_made:
            unless_made.callback(writer.close)
            _refuse_taken(folder)  # another process may have made it before it was locked
            _write_head(folder, session)
            unless_made.pop_all()
        return writer
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {os_reason(error)}") from None


def _refuse_taken(folder: Path) -> None:
    """Raises StoreError when the folder already holds a session."""
    if (folder / HEAD).exists():
        unfinished(folder)
        raise StoreError(f"{folder}: holds a session already; name another --out, or --resume it")


def unfinished(folder: Path) -> Session:
    """A session that can be resumed. Raises StoreError when it is finished."""
    session = load(folder)
    if session.finished_at:
        raise StoreError(f"{folder}: is finished, so nothing can be added (c10k show {folder})")
    return session


def _locked(folder: Path) -> IO[bytes]:
    """The file of trials, opened to append. Raises StoreError when another run writes it."""
    file = (folder / TRIALS).open("ab", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StoreError(f"{folder}: another run is writing it; wait for it or end it") from None
    return file


def _write_head(folder: Path, session: Session) -> None:
    head = msgspec.to_builtins(session)
    for key in ("measurements", "finished_at", "altered"):
        del head[key]
    _write(folder / HEAD, _encoded(head))


def _encoded(thing: object) -> bytes:
    """JSON in which the home folder is written as ~."""
    return paths.hide_home(msgspec.json.encode(thing).decode()).encode()


def _write(path: Path, text: bytes) -> None:
    """Writes a file of JSON, indented for people."""
    paths.replace_whole(path, msgspec.json.format(text, indent=1) + b"\n")


def resume(folder: Path, mixed: Sequence[str] = ()) -> tuple[Session, Writer]:
    """A session that ended early, and a writer that continues where it stopped.

    A torn last line (the machine stopped while it was written) is moved to trials.torn and its
    trial runs again. mixed: what has changed since, to be recorded. Raises StoreError.
    """
    unfinished(folder)
    path = folder / TRIALS
    try:
        (folder / LOGS).mkdir(exist_ok=True)  # git does not keep an empty folder
        file = _locked(folder)
        session = unfinished(folder)  # another process may have written before it was locked
        whole, newline, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            with (folder / "trials.torn").open("ab") as aside:
                aside.write(torn + b"\n")
            file.truncate(len(whole + newline))
        if mixed or session.schema != SCHEMA:
            session = msgspec.structs.replace(
                session, schema=SCHEMA, mixed=(*session.mixed, *mixed)
            )
            _write_head(folder, session)
        return session, Writer(folder, file)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {os_reason(error)}") from None


def load(folder: Path | str) -> Session:
    """Reads a session folder, finished or not. Raises StoreError."""
    folder = Path(folder)
    head = folder / HEAD
    try:
        raw: Any = msgspec.json.decode(head.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{folder}: no session here ({HEAD} is missing)") from None
    except OSError as error:
        raise StoreError(f"{head}: cannot be read: {os_reason(error)}") from None
    except _MALFORMED as error:
        raise StoreError(f"{head}: not JSON: {error}") from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise StoreError(f"{head}: schema {schema!r}; this c10k reads schemas {known}")
    try:
        session = msgspec.convert(raw, Session)
    except msgspec.ValidationError as error:
        raise StoreError(f"{head}: {error}") from None
    end = _finished(folder)  # read first, as a finished session does not grow
    text = _read_trials(folder / TRIALS)
    return msgspec.structs.replace(
        session,
        measurements=tuple(_trials(folder / TRIALS, text)),
        finished_at=end.finished_at if end else "",
        altered=end is not None and end.sha256 != hashlib.sha256(text).hexdigest(),
    )


def _finished(folder: Path) -> Finished | None:
    """The content of finished.json; None where the session is not finished."""
    path = folder / FINISHED
    try:
        return msgspec.json.decode(path.read_bytes(), type=Finished)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {os_reason(error)}") from None
    except _MALFORMED as error:
        raise StoreError(f"{path}: {error}") from None


def _read_trials(path: Path) -> bytes:
    """The content of trials.jsonl; empty where no trial has been stored yet."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {os_reason(error)}") from None


def _trials(path: Path, text: bytes) -> list[Measurement]:
    """The measurement of every whole line; a last line without a newline is torn, and skipped."""
    measurements = []
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            measurements.append(
                msgspec.convert(upgrade.trial(msgspec.json.decode(line)), Measurement)
            )
        except _MALFORMED as error:
            raise StoreError(f"{path}:{number}: {error}") from None
    return measurements
