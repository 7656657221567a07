"""The folder that outcomes are kept in."""

import os
from pathlib import Path

import msgspec

from .. import paths
from ..errors import UserError
from ..model import ClaimsHead, Outcome

SCHEMA = 1

FILE = "claims.jsonl"


class ClaimError(UserError):
    """No such claim, a file that is none, or outcomes that cannot be read or kept."""


def begin(folder: Path, head: ClaimsHead) -> set[str]:
    """Starts a folder's file, or goes on with it; the claims that it holds already.

    A torn last line is cut off: its claim is made again.
    """
    path = folder / FILE
    if not path.exists():
        keep(folder, head)
        return set()
    found, outcomes = load(folder)
    if (found.quick, found.ladder) != (head.quick, head.ladder):
        raise ClaimError(f"{folder}: holds outcomes of another call; name another --out")
    text = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(text.rfind(b"\n") + 1)
    return {outcome.claim for outcome in outcomes}


def keep(folder: Path, line: ClaimsHead | Outcome) -> None:
    """Appends the head or a outcome to a folder's file; it is on disk when this returns."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("ab") as file:
            file.write(paths.hide_home(msgspec.json.encode(line).decode()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ClaimError(f"{folder / FILE}: cannot be written: {why}") from None


def load(folder: Path) -> tuple[ClaimsHead, tuple[Outcome, ...]]:
    """A folder's head and outcomes; a torn last line does not count. Raises ClaimError."""
    path = folder / FILE
    try:
        first, *rest = path.read_bytes().split(b"\n")[:-1] or [b""]
        head = msgspec.json.decode(first, type=ClaimsHead)
        if head.schema != SCHEMA:
            raise ClaimError(f"{path}: schema {head.schema}; this c10k reads schema {SCHEMA}")
        return head, tuple(msgspec.json.decode(line, type=Outcome) for line in rest)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ClaimError(f"{path}: cannot be read: {why}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ClaimError(f"{path}: not what c10k claims writes: {error}") from None
