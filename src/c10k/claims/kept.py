"""Writes and reads the folder in which outcomes are kept."""

import os
from pathlib import Path

import msgspec

from .. import paths
from ..errors import UserError, os_reason
from ..model import ClaimsHead, Outcome

SCHEMA = 1

FILE = "claims.jsonl"


class ClaimError(UserError):
    """A claim that does not exist or is not valid, or outcomes that cannot be read or kept."""


def begin(folder: Path, head: ClaimsHead) -> set[str]:
    """Starts a folder's file or continues it; returns the names of the claims already in it.

    An incomplete last line is cut off, and its claim is run again. Raises ClaimError.
    """
    path = folder / FILE
    if not path.exists():
        keep(folder, head)
        return set()
    found, outcomes = load(folder)
    if (found.quick, found.ladder) != (head.quick, head.ladder):
        raise ClaimError(f"{folder}: holds outcomes of another call; choose another --out")
    text = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(text.rfind(b"\n") + 1)
    return {outcome.claim for outcome in outcomes}


def keep(folder: Path, line: ClaimsHead | Outcome) -> None:
    """Appends the head or an outcome to a folder's file; it is on disk on return."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("ab") as file:
            file.write(paths.hide_home(msgspec.json.encode(line).decode()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ClaimError(f"{folder / FILE}: cannot be written: {os_reason(error)}") from None


def load(folder: Path) -> tuple[ClaimsHead, tuple[Outcome, ...]]:
    """A folder's head and outcomes, without an incomplete last line. Raises ClaimError."""
    path = folder / FILE
    try:
        first, *rest = path.read_bytes().split(b"\n")[:-1] or [b""]
        head = msgspec.json.decode(first, type=ClaimsHead)
        if head.schema != SCHEMA:
            raise ClaimError(f"{path}: schema {head.schema}; this c10k reads schema {SCHEMA}")
        return head, tuple(msgspec.json.decode(line, type=Outcome) for line in rest)
    except OSError as error:
        raise ClaimError(f"{path}: cannot be read: {os_reason(error)}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ClaimError(f"{path}: not a file that c10k claims wrote: {error}") from None
