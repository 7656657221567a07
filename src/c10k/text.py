"""Text as it leaves the suite: on one line, with nothing in it that a terminal obeys.

Names, titles, reasons and log lines come from servers, plug-ins and session files. What
is not printable (escape sequences, C1 controls, characters that change the direction of
writing, halves of surrogate pairs) is replaced where text leaves the suite, once for all
kinds of output. Also: the words for what a machine reports about itself.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime


def plain(text: str) -> str:
    """The text on one line, each unprintable character as � (U+FFFD)."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text
    )


def entries(environment: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """An environment on one level: GROUP.KEY and the value in words, None as "unknown"."""
    return {
        f"{group}.{key}": _words(value)
        for group, values in environment.items()
        for key, value in values.items()
    }


def _words(value: object) -> str:
    if value is None:
        return "unknown"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def timestamp() -> str:
    """The time now as sessions store it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def on_interpreter(version: str, build: Collection[str], gil: bool | None) -> str:
    """An interpreter in words: 3.13.5 PGO LTO, no GIL. build: its flags; empty: not known."""
    optimised = {"PGO": "--enable-optimizations", "LTO": "--with-lto"}
    found = [word for word, flag in optimised.items() if flag in build]
    how = " ".join(found) or ("not optimised" if build else "")
    return f"{version} {how}".strip() + (", no GIL" if gil is False else "")
