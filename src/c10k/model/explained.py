"""What c10k explain counted: never part of a session."""

from typing import Literal

from msgspec import Struct

# What was counted: calls of the kernel by their name, switches of a thread, events of the core.
Counted = Literal["call", "switch", "event"]


class Count(Struct, frozen=True):
    """How often something happened for each message; None where it could not be counted."""

    name: str
    kind: Counted
    per_message: float | None
    by: str  # what counted it: strace, perf, kernel


class Explained(Struct, frozen=True):
    """One server under a few closed loops, each with another instrument."""

    server: str
    counts: tuple[Count, ...]
    messages: dict[str, int]  # instrument → the messages that its counts are divided by
    left_out: tuple[str, ...] = ()  # what could not be counted or drawn, why, and what to do
    flame: str = ""  # the flame graph's file in the output folder; "" for none
