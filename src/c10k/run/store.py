"""The session folder: append, fsync, schema version, load.

session.json   schema version, plan, seed, environment, conformance, what servers ran on
trials.jsonl   a line per trial, on disk before the next one starts
trials.torn    the beginning of a line that a crash cut short, kept aside
finished.json  when it was finished, with a digest of the trials: from then on nothing is added
logs/          what each server said, capped

What is written names no home folder (paths.hide_home), whoever said it.
Who writes holds a lock on trials.jsonl, which ends with its process, however that ends. While
a trial runs the folder itself is locked, too: who follows the session waits for that, and
works between two trials only, as whatever else runs would be in what is measured.
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
from ..errors import UserError
from ..model import Measurement, Session

SCHEMA = 1
HEAD = "session.json"
TRIALS = "trials.jsonl"
FINISHED = "finished.json"
LOGS = "logs"
FOLLOWERS_S = 5.0  # that a trial waits at most for those who follow the session
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Finished(msgspec.Struct, frozen=True):
    """What closes a session."""

    finished_at: str  # UTC, ISO 8601
    trials: int  # lines of trials.jsonl, repeats and all
    sha256: str  # of trials.jsonl


class StoreError(UserError):
    """A folder that is no session, or cannot be written; the message says which and why."""


class Writer:
    """An open session folder. append() returns when the line is on disk."""

    def __init__(self, folder: Path, file: IO[bytes]) -> None:
        self.folder = folder
        self._file = file
        # opened now: when a trial is at the limit of descriptors there may be none left
        self._opened = os.open(folder, os.O_RDONLY)

    @property
    def logs(self) -> Path:
        return self.folder / LOGS

    def append(self, measurement: Measurement) -> None:
        line = memoryview(_encoded(measurement) + b"\n")
        try:
            while line:  # what the disk has no room for is the torn end of the file
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(f"{self.folder / TRIALS}: cannot be written: {_why(error)}") from None

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """For as long as a trial runs; first those who follow the session have their time."""
        deadline = time.monotonic() + FOLLOWERS_S
        while not _lock(self._opened) and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # a file system may have no locks
                fcntl.flock(self._opened, fcntl.LOCK_UN)

    def finish(self, finished_at: str) -> None:
        """Closes the session for good. What is finished can be read, copied and removed."""
        try:
            text = (self.folder / TRIALS).read_bytes()
            end = Finished(finished_at, text.count(b"\n"), hashlib.sha256(text).hexdigest())
            _write(self.folder / FINISHED, msgspec.json.encode(end))
            for name in (HEAD, TRIALS, FINISHED):
                (self.folder / name).chmod(0o444)
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot be finished: {_why(error)}") from None

    def close(self) -> None:
        self._file.close()
        if self._opened >= 0:
            os.close(self._opened)
            self._opened = -1


@contextlib.contextmanager
def between_trials(folder: Path) -> Iterator[None]:
    """Waits until no trial runs, and holds the next one up while this lasts. Raises StoreError."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read: {_why(error)}") from None
    try:
        fcntl.flock(opened, fcntl.LOCK_SH)
        yield
    finally:
        os.close(opened)


def size(folder: Path) -> int:
    """Bytes of the trials so far: what grows with each. Raises StoreError."""
    try:
        return (folder / TRIALS).stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"{folder / TRIALS}: cannot be read: {_why(error)}") from None


def _lock(opened: int) -> bool:
    """Takes a lock for this process alone, when nobody has any; a file system may have none."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def create(folder: Path, session: Session) -> Writer:
    """Makes the folder with its head. Raises StoreError when it holds a session already."""
    _refuse_taken(folder)
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
        writer = Writer(folder, _locked(folder))
        with contextlib.ExitStack() as unless_made:
            unless_made.callback(writer.close)
            _refuse_taken(folder)  # until it was locked, another may have made it
            _write_head(folder, session)
            unless_made.pop_all()
        return writer
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {_why(error)}") from None


def _refuse_taken(folder: Path) -> None:
    if (folder / HEAD).exists():
        unfinished(folder)
        raise StoreError(f"{folder}: holds a session already; name another --out, or --resume")


def unfinished(folder: Path) -> Session:
    """A session that may be resumed. Raises StoreError when it is finished."""
    session = load(folder)
    if session.finished_at:
        raise StoreError(f"{folder}: is finished; nothing is added to it (c10k show {folder})")
    return session


def _locked(folder: Path) -> IO[bytes]:
    """The file of trials, opened to append. Raises StoreError when another run has it."""
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
    return paths.hide_home(msgspec.json.encode(thing).decode()).encode()


def _write(path: Path, text: bytes) -> None:
    """A whole file or none, on disk before this returns."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as file:
        file.write(msgspec.json.format(text, indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def resume(folder: Path, mixed: Sequence[str] = ()) -> tuple[Session, Writer]:
    """A session that ended early, and a writer that goes on where it stopped.

    A torn last line (the machine stopped while it was written) is kept aside in
    trials.torn and its trial runs again. mixed: what has changed since, for the record.
    """
    unfinished(folder)
    path = folder / TRIALS
    try:
        (folder / LOGS).mkdir(exist_ok=True)  # an empty one is not kept in git
        file = _locked(folder)
        session = unfinished(folder)  # until it was locked, another may have written
        whole, newline, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            with (folder / "trials.torn").open("ab") as aside:
                aside.write(torn + b"\n")
            file.truncate(len(whole + newline))
        if mixed:
            session = msgspec.structs.replace(session, mixed=(*session.mixed, *mixed))
            _write_head(folder, session)
        return session, Writer(folder, file)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {_why(error)}") from None


def load(folder: Path) -> Session:
    """Reads a session folder, finished or not. Raises StoreError."""
    head = folder / HEAD
    try:
        raw: Any = msgspec.json.decode(head.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{folder}: no session here ({HEAD} is missing)") from None
    except OSError as error:
        raise StoreError(f"{head}: cannot be read: {_why(error)}") from None
    except _MALFORMED as error:
        raise StoreError(f"{head}: not JSON: {error}") from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise StoreError(f"{head}: schema {schema!r}; this c10k reads schema {SCHEMA}")
    try:
        session = msgspec.convert(raw, Session)
    except msgspec.ValidationError as error:
        raise StoreError(f"{head}: {error}") from None
    end = _finished(folder)  # first: what is finished does not grow while it is read
    text = _text(folder / TRIALS)
    return msgspec.structs.replace(
        session,
        measurements=tuple(_trials(folder / TRIALS, text)),
        finished_at=end.finished_at if end else "",
        altered=end is not None and end.sha256 != hashlib.sha256(text).hexdigest(),
    )


def _finished(folder: Path) -> Finished | None:
    path = folder / FINISHED
    try:
        return msgspec.json.decode(path.read_bytes(), type=Finished)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {_why(error)}") from None
    except _MALFORMED as error:
        raise StoreError(f"{path}: {error}") from None


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {_why(error)}") from None


def _trials(path: Path, text: bytes) -> list[Measurement]:
    """Every whole line; a last line without its newline was torn and does not count."""
    measurements = []
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            measurements.append(msgspec.json.decode(line, type=Measurement))
        except _MALFORMED as error:
            raise StoreError(f"{path}:{number}: {error}") from None
    return measurements


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
