"""What a server wrote on its standard error: its last line, and what is kept of it."""

import os
from pathlib import Path

from .. import paths
from ..text import plain

LOG_BYTES = 64 * 1024  # kept of a server's output


def last_line(log: Path) -> str:
    """The last line that is not blank, to be quoted in a reason; at most 200 characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return plain(lines[-1])[:200] if lines else ""


def trim(log: Path) -> None:
    """Shortens a log to LOG_BYTES, half from its beginning and half from its end.

    A line says how much is left out. The home folder's path is replaced by ~, because the log is
    published with the results.
    """
    if not log.exists():
        return
    size, half = log.stat().st_size, LOG_BYTES // 2
    with log.open("rb") as file:
        kept = file.read(LOG_BYTES if size <= LOG_BYTES else half)
        if size > LOG_BYTES:
            file.seek(size - half)
            kept += b"\n[... %d bytes left out ...]\n" % (size - LOG_BYTES) + file.read()
    published = os.fsencode(paths.hide_home(os.fsdecode(kept)))
    if size > LOG_BYTES or published != kept:
        log.write_bytes(published)
