"""The client's plan: what one worker does, read from JSON and checked before anything opens."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

HEADER_BYTES = 16  # the connection's id and the message's number, 8 bytes each

Kind = Literal["closed", "open", "idle", "storm", "churn"]
Arrivals = Literal["poisson", "constant"]
Seconds = Annotated[float, Meta(ge=0, le=86400)]
LongSeconds = Annotated[float, Meta(ge=0.01, le=86400)]  # what cannot be instantaneous


class PlanError(Exception):
    """A plan that cannot be carried out; the message names the key at fault."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the requests that a mix is drawn from."""

    # what is sent, followed by a name that makes it unlike all others, and a newline
    line: Annotated[str, Meta(pattern=r"\A[ -\"$-~]{1,200}\Z")]  # printable ASCII without #
    share: Annotated[int, Meta(ge=1, le=1000)] = 1  # of the sum of all shares


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one worker does. Times in seconds, sizes in bytes."""

    kind: Kind = "closed"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    path: str = ""  # a UNIX socket's path, instead of host and port
    # speak TLS, and trust certificates of this authority only (PEM); the name that they must
    # have is the host, or localhost with path
    authority: str = ""
    # the shared library made of inner_loops.c; "": asyncio's loops. Not for TLS and mixes, which
    # asyncio drives in any case
    library: str = ""
    clients: Annotated[int, Meta(ge=1, le=10_000_000)] = 1
    # connections are numbered from here, so that workers differ
    first_id: Annotated[int, Meta(ge=0, le=2**62)] = 0
    message_bytes: Annotated[int, Meta(ge=HEADER_BYTES, le=64 * 1024 * 1024)] = 64
    # closed: messages each client keeps on their way
    depth: Annotated[int, Meta(ge=1, le=1000)] = 1
    # open: messages/s of all clients of this worker together
    rate: Annotated[float, Meta(ge=0, le=10_000_000)] = 0.0
    arrivals: Arrivals = "poisson"  # open: see schedule.py
    # open: the schedule's seed; workers with the same seed differ by first_id
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    # open: each message is one of these requests; message_bytes does not apply. See mix.py
    mix: Annotated[tuple[Request, ...], Meta(max_length=10)] = ()
    # open: with more messages on their way, the worker gives up
    most_outstanding: Annotated[int, Meta(ge=1, le=100_000_000)] = 1_000_000
    # connections in flight while connecting
    connecting: Annotated[int, Meta(ge=1, le=100_000)] = 128
    connect_timeout_s: LongSeconds = 30.0  # until every client's first echo has come
    warmup_s: Seconds = 0.5
    duration_s: Seconds = 5.0  # the slice's length; longer in a loop if 20 round trips take longer
    ceiling_s: LongSeconds = 60.0  # the most of that; half of it for the warm-up
    drain_s: Seconds = 5.0  # how long after the slice the last echoes may take
    # interval at which echoes are counted, from the beginning of sending
    bins_ms: Annotated[int, Meta(ge=1, le=60_000)] = 20
    sources: tuple[str, ...] = ()  # addresses to connect from, in turn
    hold: bool = False  # wait on standard input for the order to begin and the slice's length


class SliceLength(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line that a worker with `hold` waits for when it has warmed up."""

    slice_s: Seconds


def read(text: str | bytes) -> Plan:
    """The plan in a JSON text, with every key within its bounds. Raises PlanError."""
    try:
        plan = msgspec.json.decode(text, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan: {error}") from None
    if plan.kind == "open" and not plan.rate:
        raise PlanError("the plan's rate: kind open needs one, in messages/s of all clients")
    if plan.kind != "open" and plan.rate:
        raise PlanError(f"the plan's rate: kind {plan.kind} has none; give kind open")
    if plan.kind != "open" and plan.mix:
        raise PlanError(f"the plan's mix: kind {plan.kind} has none; give kind open")
    if plan.kind == "open" and plan.depth > 1:
        raise PlanError("the plan's depth: kind open has none; use rate instead")
    if not plan.path and not plan.port:
        raise PlanError("the plan names no server: give port (and host), or path")
    return plan
