"""Finds what a failed trial ran out of, if it is known.

The suite's own failures carry the cause as a value. The last words of a server and the
messages of the system are foreign text. Only this module searches such text for a cause.
"""

import errno

from ..model import Cause

_ERRORS: dict[int | None, Cause] = {
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.EADDRNOTAVAIL: "ports",
    errno.ENOMEM: "memory",
}
# Text that a server, a client or the system may write → what the trial ran out of.
_NEEDLES: tuple[tuple[str, Cause], ...] = (
    ("open files", "descriptors"),
    ("requested address", "ports"),
    ("new thread", "threads"),
    ("MemoryError", "memory"),
    ("SIGKILL", "memory"),  # most likely from the kernel, which had no memory left
)


def of_error(error: OSError) -> Cause:
    """The cause of an error that the system reported to the suite; "" when not known."""
    return _ERRORS.get(error.errno, "")


def of_words(words: str) -> Cause:
    """The first cause whose text is found in the words of others; "" when none is."""
    return next((cause for needle, cause in _NEEDLES if needle in words), "")
