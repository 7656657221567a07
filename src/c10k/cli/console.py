"""How every command prints: plain lines, JSON, and complaints on standard error."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..errors import UserError, os_reason
from ..text import plain


def complain(line: str) -> None:
    """Prints one line on standard error, after the command's name."""
    print(f"c10k: {plain(line)}", file=sys.stderr)


def print_line(console: Console, text: str) -> None:
    """Prints a plain line: no markup, no colours, not wrapped, since a program may read it."""
    console.print(Text(plain(text)), soft_wrap=True)


def print_json(found: Any) -> None:
    print(json.dumps(found, indent=1))


def write(path: Path, text: str, option: str, *, parents: bool = False) -> None:
    """Writes the file that an option names; with parents, creates its folders. Raises UserError."""
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{option} {path}: {os_reason(error)}") from None
