"""Reads text and TOML that people wrote, of bounded size; every fault is an Unreadable."""

import tomllib
from pathlib import Path
from typing import Any

from ..errors import os_reason

MOST_BYTES = 1024 * 1024  # of a file: far more than any workload or server has


class Unreadable(ValueError):
    """What cannot be read or used; the message says why, the caller adds the file's name."""


def text(path: Path) -> str:
    """A file's text. Raises Unreadable."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(os_reason(error)) from None
    except ValueError as error:  # a path that holds a NUL
        raise Unreadable(f"this is not a path: {error}") from None
    if len(content) > MOST_BYTES:
        raise Unreadable(f"the file is longer than {MOST_BYTES:,} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("the file is not UTF-8 text") from None


def toml(document: str) -> dict[str, Any]:
    """A TOML document. Raises Unreadable."""
    try:
        document.encode()  # TOML is UTF-8: it has no half of a surrogate pair
        return tomllib.loads(document)
    except ValueError as error:  # also a number of more digits than Python converts
        raise Unreadable(f"the TOML does not parse: {error}") from None
    except RecursionError:
        raise Unreadable("the TOML is nested too deeply") from None
