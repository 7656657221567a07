"""What a server wrote on its standard error: its last line, and what is kept of it."""

import os
from pathlib import Path

from .. import paths
from ..text import plain

LOG_BYTES = 64 * 1024  # kept of a server's output, the first and the last half


def last_line(log: Path) -> str:
    """The last line that says something, for a reason; at most 200 characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return plain(lines[-1])[:200] if lines else ""


def trim(log: Path) -> None:
    """Keeps the first and the last half of LOG_BYTES and says how much is left out.

    It goes with the results: the home folder's path does not stay in it.
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
