"""Text of others, fit to be printed: one line, and nothing in it that a terminal obeys.

Names, titles, reasons and log lines come from servers, plug-ins and session files. What
is not printable (escape sequences, C1 controls, characters that turn the direction of
writing, halves of surrogate pairs) is replaced where text leaves the suite, once for all
kinds of output.
"""


def plain(text: str) -> str:
    """The text on one line, each unprintable character as � (U+FFFD)."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text
    )
