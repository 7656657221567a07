"""The client's plan: what one worker does, read from JSON and checked before anything opens."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

HEADER_BYTES = 16  # the connection's id and the message's number, 8 bytes each

Kind = Literal["closed", "open", "idle", "storm", "churn"]
Arrivals = Literal["poisson", "constant"]
Seconds = Annotated[float, Meta(ge=0, le=86400)]
LongSeconds = Annotated[float, Meta(ge=0.01, le=86400)]  # not at once


class PlanError(Exception):
    """A plan that cannot be carried out; the message names the key."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one worker does. Times in seconds, sizes in bytes."""

    kind: Kind = "closed"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    path: str = ""  # of a UNIX socket, instead of host and port
    clients: Annotated[int, Meta(ge=1, le=10_000_000)] = 1
    # connections are numbered from here, so that workers differ
    first_id: Annotated[int, Meta(ge=0, le=2**62)] = 0
    message_bytes: Annotated[int, Meta(ge=HEADER_BYTES, le=64 * 1024 * 1024)] = 64
    # closed: messages each client keeps on their way
    depth: Annotated[int, Meta(ge=1, le=1000)] = 1
    # open: messages/s, all clients of this worker together
    rate: Annotated[float, Meta(ge=0, le=10_000_000)] = 0.0
    arrivals: Arrivals = "poisson"  # open: see schedule.py
    # open: of the schedule; workers that share it differ by first_id
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    # open: messages on their way, before the worker gives up
    most_outstanding: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000
    # connections in flight while connecting
    connecting: Annotated[int, Meta(ge=1, le=100_000)] = 128
    connect_timeout_s: LongSeconds = 30.0  # until every client's first echo has come
    warmup_s: Seconds = 0.5
    duration_s: Seconds = 5.0  # of the slice; the loops' is longer where 20 round trips are
    ceiling_s: LongSeconds = 60.0  # of a slice that is longer for that; half of it for the warm-up
    drain_s: Seconds = 5.0  # how long after the slice the last echoes may take
    # how often the echoes are counted, from the beginning of sending
    bins_ms: Annotated[int, Meta(ge=1, le=60_000)] = 20
    sources: tuple[str, ...] = ()  # addresses to connect from, in turn
    hold: bool = False  # wait on standard input for when to begin, and how long the slice is


class SliceLength(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line that a held worker waits for when it has warmed up."""

    slice_s: Seconds


def read(text: str | bytes) -> Plan:
    """The plan that a text holds, each key in its bounds. Raises PlanError."""
    try:
        plan = msgspec.json.decode(text, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan: {error}") from None
    if plan.kind == "open" and not plan.rate:
        raise PlanError("the plan's rate: kind open needs one, in messages/s of all clients")
    if plan.kind != "open" and plan.rate:
        raise PlanError(f"the plan's rate: kind {plan.kind} has none; give kind open")
    if plan.kind == "open" and plan.depth > 1:
        raise PlanError("the plan's depth: kind open has none; its rate says how many leave")
    if not plan.path and not plan.port:
        raise PlanError("the plan names no server: give port (and host), or path")
    return plan
