"""Adds up the results of a trial's workers. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from ..histograms import intervals as intervals_of
from ..histograms import latencies
from ..judge import samples
from ..model import Host, Latency
from .events import (
    ChurnResult,
    ClosedResult,
    Core,
    LoadResult,
    OpenResult,
    SliceResult,
    StormResult,
    WorkerConnected,
    WorkerResult,
)

STALL_NS = 10_000_000  # shorter stalls are not counted

Number = TypeVar("Number", int, float)
Result = TypeVar("Result", bound=WorkerResult)
Stretch = tuple[int, int]  # when it began in the slice, and its length, ns


class Connected(Struct, frozen=True):
    """How the clients of all workers connected."""

    connected: int
    served: int
    failed: dict[str, int]
    connect_s: float
    bytes_per_connection: float
    tls: str = ""  # the protocol and the cipher; "" without TLS
    loops: str = ""  # what drives the clients: C or asyncio


class Driven(Struct, frozen=True):
    """The results of all workers for the measured slice.

    A figure that does not exist for this kind of load is None.
    """

    messages: int
    messages_per_s: float
    duration_s: float
    cpu_share: float  # of the workers' busiest core
    cpu_s: float  # of all workers
    lost: int
    altered: int
    faults: dict[str, int]
    errors: dict[str, int]
    fairness: float | None
    slowest_share: float | None
    clients_without_echo: int
    retried: int | None
    launched_s: float | None
    arrived: Connected | None  # storm: its clients connect in the slice, not before
    latency: Latency
    latency_from_send: Latency | None
    latency_least: Latency | None
    schedule_lag: Latency | None
    read_lag: Latency | None
    latency_by_request: tuple[Latency, ...]  # of each request of the mix
    rate_achieved: float | None
    unsent: int  # open loop: messages that never left
    bins: tuple[tuple[int, int], ...]
    intervals: str
    stalls: int | None  # of STALL_NS or longer
    longest_stall_s: float | None
    longest_stall_at_s: float | None
    little: float | None  # closed loop: for the clients that had an echo in the slice
    slice_s: float = 0.0  # its planned length
    slice_at_s: float | None = None  # when it began, by the workers' monotonic clock
    round_trip_s: float | None = None
    at_ceiling: bool = False
    engine_cpu_s: float = 0.0  # of this process, in the slice
    hosts: tuple[Host, ...] = ()  # each of several machines, with its part
    start_spread_s: float | None = None  # several machines: their starts lay within this

    @property
    def lag_p99_us(self) -> float | None:
        """Open loop: how late its workers sent or read, whichever is later."""
        lags = [each.p99_us for each in (self.schedule_lag, self.read_lag) if each]
        return greatest(each for each in lags if each is not None)


def at_barrier(workers: Sequence[WorkerConnected | StormResult]) -> Connected:
    """The workers' counts of connected clients, added up."""
    memory = [worker.bytes_per_connection for worker in workers]
    return Connected(
        connected=sum(worker.connected for worker in workers),
        served=sum(worker.served for worker in workers),
        failed=_together(worker.failed for worker in workers),
        connect_s=max(worker.connect_s for worker in workers),
        bytes_per_connection=sum(memory) / len(memory),
        tls=max(worker.tls for worker in workers),  # one server, so the same for all
        loops=" / ".join(sorted({worker.loops for worker in workers})),
    )


def merge(results: Sequence[WorkerResult], cores: Sequence[Core], depth: int) -> Driven:
    """Adds up the workers' results. cores: one for each worker.

    A figure that only some kinds of load have is added up over the results of these types. In a
    trial of another kind there are none, so the figure is None.
    """
    opened, storms = _those(results, OpenResult), _those(results, StormResult)
    loads, slices = _those(results, LoadResult), _those(results, SliceResult)
    coming: list[StormResult | ChurnResult] = [*storms, *_those(results, ChurnResult)]
    intervals = intervals_of.added([each.intervals for each in slices]) if slices else ""
    stalls = _stalls(slices) if slices else None
    longest = None if stalls is None else _longest_stall(slices, stalls)
    fairness, slowest_share = _shares(results)
    return Driven(
        messages=sum(each.messages for each in results),
        messages_per_s=sum(each.messages / each.duration_ns * 1e9 for each in results),
        duration_s=max(each.duration_ns for each in results) / 1e9,
        cpu_share=_busiest(results, cores),
        cpu_s=sum(each.cpu_ns for each in results) / 1e9,
        lost=sum(each.lost for each in results),
        altered=sum(each.altered for each in results),
        faults=_together(each.faults for each in results),
        errors=_together(each.errors for each in results),
        fairness=fairness,
        slowest_share=slowest_share,
        clients_without_echo=sum(each.clients_without_echo for each in results),
        retried=total(each.retried for each in coming),
        launched_s=greatest(each.launched_s for each in storms),
        arrived=at_barrier(storms) if storms else None,
        latency=_latency([each.latency for each in results], intervals),
        latency_from_send=_recorded([each.latency_from_send for each in opened]),
        latency_least=_recorded([each.latency_least for each in opened]),
        schedule_lag=_recorded([each.schedule_lag for each in opened]),
        read_lag=_recorded([each.read_lag for each in opened]),
        latency_by_request=tuple(
            _latency(encoded, intervals)
            for encoded in zip(*(each.latency_by_request for each in opened), strict=False)
        ),
        rate_achieved=total(each.rate_achieved for each in opened),
        unsent=sum(each.unsent for each in opened),
        bins=_bins([each.bins for each in loads]),
        intervals=intervals,
        stalls=None if stalls is None else len(stalls),
        longest_stall_s=longest[1] / 1e9 if longest else None,
        longest_stall_at_s=longest[0] / 1e9 if longest else None,
        little=_little(_those(results, ClosedResult), depth),
    )


def total(numbers: Iterable[Number]) -> Number | None:
    """The sum; None without numbers."""
    found = list(numbers)
    return sum(found) if found else None


def greatest(numbers: Iterable[Number]) -> Number | None:
    """The greatest number; None without numbers."""
    return max(numbers, default=None)


def _those(results: Iterable[WorkerResult], what: type[Result]) -> list[Result]:
    """The results of one type, which only some kinds of load have."""
    return [result for result in results if isinstance(result, what)]


def _together(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    return dict(sum(map(Counter, counts), Counter[str]()))


def _busiest(results: Sequence[WorkerResult], cores: Sequence[Core]) -> float:
    """The share of the slice for which the workers kept their busiest core busy."""
    busy = dict.fromkeys(cores, 0.0)
    for core, result in zip(cores, results, strict=True):
        busy[core] += result.cpu_ns / result.duration_ns
    return max(busy.values())


def _shares(results: Sequence[WorkerResult]) -> tuple[float | None, float | None]:
    """Jain's index over the clients' echoes, and the slowest client's over an even share."""
    clients = sum(each.clients for each in results)
    messages = sum(each.count_sum for each in results)
    squares = sum(each.count_square_sum for each in results)
    least = min(each.least_messages for each in results)
    return (
        samples.jain(messages, squares, clients),
        least * clients / messages if messages else None,
    )


def _little(results: Sequence[ClosedResult], depth: int) -> float | None:
    """Rate × mean latency divided by the messages in flight: 1 by Little's law.

    In a closed loop each client that had an echo in the slice always has `depth` messages in
    flight. Far from 1, the slice was too short to measure a rate. None for other loads.
    """
    if not results:
        return None
    waited_ns = sum(each.latency_sum_ns for each in results)
    there_ns = sum(each.clients_answered * each.duration_ns for each in results)
    return waited_ns / (there_ns * depth) if there_ns else 0.0


def _stalls(results: Sequence[SliceResult]) -> list[Stretch]:
    """The times of STALL_NS or longer in which no worker had an echo.

    The workers began their slices within milliseconds of each other. Only the time that is
    part of a stall for all of them is a stall.
    """
    first, *others = (each.stalls for each in results)
    found = list(first)
    for stalls in others:
        found = list(_overlaps(found, stalls))
    return [(at_ns, length_ns) for at_ns, length_ns in found if length_ns >= STALL_NS]


def _longest_stall(results: Sequence[SliceResult], stalls: Sequence[Stretch]) -> Stretch:
    """One worker's longest stall, however short; with several workers, the longest of stalls."""
    if len(results) == 1:
        return results[0].longest_stall_at_ns, results[0].longest_stall_ns
    return max(stalls, key=lambda stall: stall[1], default=(0, 0))


def _overlaps(a: Sequence[Stretch], b: Sequence[Stretch]) -> Iterator[Stretch]:
    for at, length in a:
        for other_at, other in b:
            begin, end = max(at, other_at), min(at + length, other_at + other)
            if begin < end:
                yield begin, end - begin


def _bins(workers: Sequence[Sequence[tuple[int, int]]]) -> tuple[tuple[int, int], ...]:
    """The workers' counts added up bin by bin, at the first worker's times: all began together."""
    return tuple(
        (together[0][0], sum(count for _, count in together))
        for together in zip(*workers, strict=False)
    )


def _recorded(encoded: Sequence[str]) -> Latency | None:
    """The workers' histograms added up; None where they recorded none."""
    return _latency(encoded) if encoded and all(encoded) else None


def _latency(encoded: Sequence[str], intervals: str = "") -> Latency:
    """The workers' histograms added up, with the percentiles that enough samples lie beyond."""
    merged = latencies.empty()
    for each in encoded:
        merged.add(latencies.decoded(each))
    count = int(merged.get_total_count())

    def at(percent: float) -> float | None:
        value_ns = int(merged.get_value_at_percentile(percent))
        beyond = intervals_of.holding(intervals, value_ns)
        if not samples.percentile_allowed(count, percent, beyond):
            return None
        return value_ns / 1000

    return Latency(
        count=count,
        p50_us=at(50),
        p90_us=at(90),
        p99_us=at(99),
        p999_us=at(99.9),
        max_us=float(merged.get_max_value()) / 1000 if count else None,
        histogram=merged.encode().decode("ascii"),
    )
