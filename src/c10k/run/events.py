"""The events that workers report, as types, and the error of a trial that they cannot finish.

A worker writes one JSON line for each event. The key "event" names the event, and the kind of
load decides which keys a result has. clients/README.md explains every key for authors of other
clients; tests/run/test_events.py checks the shared client against these types. Unknown keys are
ignored, so that a client may report more.
"""

from typing import Annotated

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder

from ..model import Cause, Kind
from . import causes

Core = tuple[str, int]  # (host's name, "" for this machine; number of the core)

Count = Annotated[int, Meta(ge=0, le=10**15)]  # the same bound as model.BoundedInt
Sum = Annotated[int, Meta(ge=0)]  # of squares and of times: may need more than 64 bits
Ns = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Rate = Annotated[float, Meta(ge=0, le=1e15)]  # messages/s
Growth = Annotated[float, Meta(ge=-1e15, le=1e15)]  # of memory, in bytes
Counts = dict[str, Count]  # reason → how many


class WorkerConnected(Struct, frozen=True, tag="connected", tag_field="event"):
    """Every client of a worker has had its first echo, or has failed to get one."""

    connected: Count
    served: Count  # clients that had an echo
    failed: Counts  # clients that had none
    connect_s: Seconds
    bytes_per_connection: Growth
    tls: str  # the protocol and the cipher; "" without TLS
    loops: str  # what drives the clients: C, asyncio, or another client's name for that


class WorkerWarmed(Struct, frozen=True, tag="warmed", tag_field="event"):
    """The slice may start."""

    round_trip_ns: Ns  # 0: this kind of load has none
    slowest_ns: Ns  # until the last client was answered; 0: none was waited for
    elapsed_ns: Ns
    messages: Count  # echoes of the warm-up


class WorkerEnded(Struct, frozen=True, tag="ended", tag_field="event"):
    """The slice has ended; both times are from the worker's monotonic clock."""

    start_ns: Ns
    end_ns: Ns


class WorkerResult(Struct, frozen=True, kw_only=True, tag="result", tag_field="event"):
    """A worker's results of slice and drain, with the keys that every kind of load has."""

    messages: Count  # echoes within the slice
    duration_ns: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    cpu_ns: Ns
    lost: Count
    altered: Count
    faults: Counts  # the altered echoes, by kind of fault
    errors: Counts
    clients: Count  # that the following keys count; 0: this kind of load does not
    clients_answered: Count
    clients_without_echo: Count
    least_messages: Count
    count_sum: Count
    count_square_sum: Sum
    latency: str  # histogram, as all here: HdrHistogram V2, base64, ns
    peak_bytes: Count


class SliceResult(WorkerResult, frozen=True):
    """The result of a load whose slice has a given length."""

    slice_s: Seconds
    intervals: str  # see c10k.histograms.intervals; "": none
    stalls: tuple[tuple[Ns, Ns], ...]  # (start in the slice, length)
    longest_stall_ns: Ns  # however short
    longest_stall_at_ns: Ns


class IdleResult(SliceResult, frozen=True):
    """Idle: the clients send nothing within the slice."""


class LoadResult(SliceResult, frozen=True):
    """The result of a load whose clients have echoes within the slice."""

    bins: tuple[tuple[Count, Count], ...]  # (ns since sending began, echoes so far)
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
    latency_least: str  # histogram; "" for a mix
    schedule_lag: str  # histogram
    read_lag: str  # histogram
    latency_by_request: tuple[str, ...]  # a histogram for each request of the mix, in its order


class ChurnResult(LoadResult, frozen=True):
    retried: Count  # clients for which the kernel retransmitted


class StormResult(WorkerResult, frozen=True):
    """Storm: clients connect within the slice, so the result has the keys of `connected`, too."""

    connected: Count
    served: Count
    failed: Counts
    connect_s: Seconds
    bytes_per_connection: Growth
    launched_s: Seconds  # until the last client began to connect
    retried: Count
    tls: str
    loops: str


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

    vanished: the host that is gone, if that is the reason. cause: what the trial ran out of.
    """

    def __init__(self, reason: str, vanished: str = "", cause: Cause = "") -> None:
        super().__init__(reason)
        self.vanished = vanished
        self.cause = cause or causes.of_words(reason)


def decoded(line: bytes, kind: Kind) -> Event:
    """The event on a line of a worker with this kind of load. Raises ClientFailed."""
    try:
        return _DECODERS[kind].decode(line)
    except (MsgspecError, UnicodeDecodeError) as error:
        begins = line[:40].decode(errors="replace")
        raise ClientFailed(
            f"the client wrote a line that does not follow clients/README.md: {error}; "
            f"it begins with {begins!r}"
        ) from None
