"""The client's plan: what one worker does, read from JSON and checked before anything opens."""

from typing import Annotated, Literal

import msgspec

HEADER_BYTES = 16  # the connection's id and the message's number, 8 bytes each
MOST_CLIENTS = 10_000_000
MOST_MESSAGE_BYTES = 64 * 1024 * 1024
MOST_RATE = 10_000_000.0


class PlanError(Exception):
    """A plan that cannot be carried out; the message names the key."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one worker does. Times in seconds, sizes in bytes."""

    kind: Literal["closed", "open", "idle", "storm", "churn"] = "closed"
    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""  # of a UNIX socket, instead of host and port
    clients: int = 1
    first_id: int = 0  # connections are numbered from here, so that workers differ
    message_bytes: int = 64
    depth: int = 1  # closed: messages each client keeps on their way
    rate: float = 0.0  # open: messages/s, all clients of this worker together
    arrivals: Literal["poisson", "constant"] = "poisson"  # open: see schedule.py
    seed: int = 0  # open: of the schedule; workers that share it differ by first_id
    most_outstanding: int = 1_000_000  # open: messages on their way, before the worker gives up
    connecting: int = 128  # connections in flight while connecting
    connect_timeout_s: float = 30.0  # until every client's first echo has come
    warmup_s: float = 0.5
    duration_s: float = 5.0  # of the slice; the loops' is longer where 20 round trips are
    ceiling_s: float = 60.0  # of a slice that is longer for that; half of it for the warm-up
    drain_s: float = 5.0  # how long after the slice the last echoes may take
    bins_ms: int = 20  # how often the echoes are counted, from the beginning of sending
    sources: tuple[str, ...] = ()  # addresses to connect from, in turn
    hold: bool = False  # be told on standard input when to begin, and how long the slice is


class SliceLength(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a held worker is told when it has warmed up."""

    slice_s: Annotated[float, msgspec.Meta(ge=0.0, le=86400.0)]


# key → (least, most)
_BOUNDS = {
    "port": (0, 65535),
    "clients": (1, MOST_CLIENTS),
    "first_id": (0, 2**62),
    "message_bytes": (HEADER_BYTES, MOST_MESSAGE_BYTES),
    "depth": (1, 1000),
    "rate": (0.0, MOST_RATE),
    "seed": (0, 2**63 - 1),
    "most_outstanding": (1, 100_000_000),
    "connecting": (1, 100_000),
    "connect_timeout_s": (0.01, 86400.0),
    "warmup_s": (0.0, 86400.0),
    "duration_s": (0.0, 86400.0),
    "ceiling_s": (0.01, 86400.0),
    "drain_s": (0.0, 86400.0),
    "bins_ms": (1, 60_000),
}


def read(text: str | bytes) -> Plan:
    """Decodes and checks a plan. Raises PlanError."""
    try:
        plan = msgspec.json.decode(text, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan: {error}") from None
    return checked(plan)


def checked(plan: Plan) -> Plan:
    """The plan itself when every value is in bounds. Raises PlanError."""
    for key, (least, most) in _BOUNDS.items():
        value = getattr(plan, key)
        if not least <= value <= most:  # NaN too fails this
            raise PlanError(f"the plan's {key}: {value} is not between {least} and {most}")
    if plan.kind == "open" and not plan.rate:
        raise PlanError("the plan's rate: kind open needs one, in messages/s of all clients")
    if plan.kind != "open" and plan.rate:
        raise PlanError(f"the plan's rate: kind {plan.kind} has none; give kind open")
    if plan.kind == "open" and plan.depth > 1:
        raise PlanError("the plan's depth: kind open has none; its rate says how many leave")
    if not plan.path and not plan.port:
        raise PlanError("the plan names no server: give port (and host), or path")
    return plan
