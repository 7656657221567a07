"""Text as it leaves the suite: on one line, with nothing in it that a terminal obeys.

Names, titles, reasons and log lines come from servers, plug-ins and session files. What
is not printable (escape sequences, C1 controls, characters that change the direction of
writing, halves of surrogate pairs) is replaced where text leaves the suite, once for all
kinds of output.
"""

from datetime import UTC, datetime


def plain(text: str) -> str:
    """The text on one line, each unprintable character as � (U+FFFD)."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text
    )


def timestamp() -> str:
    """The time now as sessions store it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
