"""What workers say, as types, and how a trial fails that they cannot drive to its end.

A worker writes one JSON line for each event. The key "event" says which one it is, and the
kind of load says which keys a result has. clients/README.md explains every key to whoever
writes another client; tests/test_events.py holds the shared client to these types. A key
that nobody here knows is ignored, so that a client may say more.
"""

from typing import Annotated

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder

from ..model import Cause, Kind
from . import causes

Core = tuple[str, int]  # a host's name, "" for this one, and the number of its core

Count = Annotated[int, Meta(ge=0, le=10**15)]  # as far as a measurement may go (model.Whole)
Sum = Annotated[int, Meta(ge=0)]  # of squares and of times: may need more than 64 bits
Ns = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Rate = Annotated[float, Meta(ge=0, le=1e15)]  # messages/s
Growth = Annotated[float, Meta(ge=-1e15, le=1e15)]  # of memory, in bytes
Counts = dict[str, Count]  # reason → how many


class WorkerConnected(Struct, frozen=True, tag="connected", tag_field="event"):
    """Every client of a worker has had its first echo, or cannot have one."""

    connected: Count
    served: Count  # clients that had an echo
    failed: Counts  # clients that had none
    connect_s: Seconds
    bytes_per_connection: Growth


class WorkerWarmed(Struct, frozen=True, tag="warmed", tag_field="event"):
    """The slice may start."""

    round_trip_ns: Ns  # 0: this kind has none
    slowest_ns: Ns  # until the last client was answered; 0: nobody had to be waited for
    elapsed_ns: Ns
    messages: Count  # echoes of the warm-up


class WorkerEnded(Struct, frozen=True, tag="ended", tag_field="event"):
    """The slice has ended; both times are of the worker's monotonic clock."""

    start_ns: Ns
    end_ns: Ns


class WorkerResult(Struct, frozen=True, kw_only=True, tag="result", tag_field="event"):
    """What a worker saw in the slice and in the drain: what every kind of load has."""

    messages: Count  # echoes within the slice
    duration_ns: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    cpu_ns: Ns
    lost: Count
    altered: Count
    faults: Counts  # the altered, by name
    errors: Counts
    clients: Count  # those that the following are of; 0: this kind does not count by client
    clients_answered: Count
    clients_without_echo: Count
    least_messages: Count
    count_sum: Count
    count_square_sum: Sum
    latency: str  # an HdrHistogram, as all histograms here: V2, base64, ns
    peak_bytes: Count


class SliceResult(WorkerResult, frozen=True):
    """A kind whose clients are there for a slice of a given length."""

    slice_s: Seconds
    intervals: str  # see c10k.histograms.intervals; "": none
    stalls: tuple[tuple[Ns, Ns], ...]  # when in the slice each began, and its length
    longest_stall_ns: Ns  # however short
    longest_stall_at_ns: Ns


class IdleResult(SliceResult, frozen=True):
    """Idle: the clients say nothing within the slice."""


class LoadResult(SliceResult, frozen=True):
    """A kind whose clients are answered within the slice."""

    bins: tuple[tuple[Count, Count], ...]  # ns since sending began, echoes so far
    slice_start_ns: Ns  # since sending began


class ClosedResult(LoadResult, frozen=True):
    latency_sum_ns: Sum  # of the echoes within the slice


class OpenResult(LoadResult, frozen=True):
    intended: Count
    sent: Count
    unsent: Count
    rate_intended: Rate
    rate_achieved: Rate
    latency_from_send: str  # histogram
    schedule_lag: str  # histogram


class ChurnResult(LoadResult, frozen=True):
    retried: Count  # clients for which the kernel sent something again


class StormResult(WorkerResult, frozen=True):
    """Storm: all connect within the slice, so it also says what `connected` says elsewhere."""

    connected: Count
    served: Count
    failed: Counts
    connect_s: Seconds
    bytes_per_connection: Growth
    launched_s: Seconds  # until the last client began to connect
    retried: Count


Event = WorkerConnected | WorkerWarmed | WorkerEnded | WorkerResult

_BEFORE = WorkerConnected | WorkerWarmed | WorkerEnded
RESULTS: dict[Kind, type[WorkerResult]] = {
    "closed": ClosedResult,
    "open": OpenResult,
    "idle": IdleResult,
    "storm": StormResult,
    "churn": ChurnResult,
}
_DECODERS: dict[Kind, Decoder[Event]] = {
    kind: Decoder(_BEFORE | result) for kind, result in RESULTS.items()
}


class ClientFailed(Exception):
    """The load could not be driven to its end; the message is the trial's reason.

    vanished: the name of the host that was gone, when that is why. cause: what it ran out of.
    """

    def __init__(self, reason: str, vanished: str = "", cause: Cause = "") -> None:
        super().__init__(reason)
        self.vanished = vanished
        self.cause = cause or causes.of_words(reason)


def decoded(line: bytes, kind: Kind) -> Event:
    """The event on a line that a worker of that kind of load wrote. Raises ClientFailed."""
    try:
        return _DECODERS[kind].decode(line)
    except (MsgspecError, UnicodeDecodeError) as error:
        begins = line[:40].decode(errors="replace")
        raise ClientFailed(
            f"the client wrote a line that is not as clients/README.md says: {error}; "
            f"it begins {begins!r}"
        ) from None
