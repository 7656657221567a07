"""The session folder: append, fsync, schema version, load.

session.json   schema version, plan, seed, environment, conformance: written once
trials.jsonl   a line per trial, on disk before the next one starts
logs/          what each server said, capped
"""

import os
from pathlib import Path
from typing import IO, Any

import msgspec

from .model import Measurement, Session

SCHEMA = 1
HEAD = "session.json"
TRIALS = "trials.jsonl"
LOGS = "logs"


class StoreError(Exception):
    """A folder that is no session, or cannot be written; the message says which and why."""


class Writer:
    """An open session folder. append() returns when the line is on disk."""

    def __init__(self, folder: Path, file: IO[bytes]) -> None:
        self.folder = folder
        self._file = file

    @property
    def logs(self) -> Path:
        return self.folder / LOGS

    def append(self, measurement: Measurement) -> None:
        try:
            self._file.write(msgspec.json.encode(measurement) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(f"{self.folder / TRIALS}: cannot be written: {_why(error)}") from None

    def close(self) -> None:
        self._file.close()


def create(folder: Path, session: Session) -> Writer:
    """Makes the folder with its head. Raises StoreError when it holds a session already."""
    try:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
        if (folder / HEAD).exists():
            raise StoreError(f"{folder}: holds a session already; name another --out, or --resume")
        head = msgspec.to_builtins(session)
        del head["measurements"]
        scratch = folder / (HEAD + ".new")
        scratch.write_bytes(msgspec.json.format(msgspec.json.encode(head), indent=1) + b"\n")
        scratch.rename(folder / HEAD)
        return Writer(folder, (folder / TRIALS).open("ab"))
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {_why(error)}") from None


def resume(folder: Path) -> tuple[Session, Writer]:
    """A session that ended early, and a writer that goes on where it stopped.

    A torn last line (the machine stopped while it was written) is kept aside in
    trials.torn and its trial runs again.
    """
    session = load(folder)
    path = folder / TRIALS
    try:
        (folder / LOGS).mkdir(exist_ok=True)  # an empty one is not kept in git
        text = path.read_bytes() if path.exists() else b""
        whole, newline, torn = text.rpartition(b"\n")
        if torn:
            (folder / "trials.torn").write_bytes(torn)
            with path.open("r+b") as file:
                file.truncate(len(whole + newline))
        return session, Writer(folder, path.open("ab"))
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
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{head}: not JSON: {error}") from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise StoreError(f"{head}: schema {schema!r}; this c10k reads schema {SCHEMA}")
    try:
        session = msgspec.convert(raw, Session)
    except msgspec.ValidationError as error:
        raise StoreError(f"{head}: {error}") from None
    return msgspec.structs.replace(session, measurements=tuple(_trials(folder / TRIALS)))


def _trials(path: Path) -> list[Measurement]:
    """Every whole line; a last line without its newline was torn and does not count."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {_why(error)}") from None
    measurements = []
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            measurements.append(msgspec.json.decode(line, type=Measurement))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(f"{path}:{number}: {error}") from None
    return measurements


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
