"""What a failed trial ran out of, as far as it is known.

The suite's own failures say it as a value. What a server wrote before it ended, and what the
system calls an error, is text of others: here, and nowhere else, it is searched.
"""

import errno

from ..model import Cause

_ERRORS: dict[int | None, Cause] = {
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.EADDRNOTAVAIL: "ports",
    errno.ENOMEM: "memory",
}
# What stands in the words of a server, of a client or of the system → what it ran out of.
_NEEDLES: tuple[tuple[str, Cause], ...] = (
    ("open files", "descriptors"),
    ("requested address", "ports"),
    ("new thread", "threads"),
    ("MemoryError", "memory"),
    ("SIGKILL", "memory"),  # most likely by the kernel, which had none left
)


def of_error(error: OSError) -> Cause:
    """Of an error that the system reported to the suite itself."""
    return _ERRORS.get(error.errno, "")


def of_words(words: str) -> Cause:
    """Of the words of others, the first that is found."""
    return next((cause for needle, cause in _NEEDLES if needle in words), "")
