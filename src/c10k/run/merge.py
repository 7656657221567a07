"""Adds up what the workers of a trial saw. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from ..histograms import intervals as intervals_of
from ..histograms import latencies
from ..judge import samples
from ..model import Host, Latency
from .events import Core, Event

STALL_NS = 10_000_000  # a shorter one is not counted


class Connected(Struct, frozen=True):
    """What the barrier saw, over all workers."""

    connected: int
    served: int
    failed: dict[str, int]
    connect_s: float
    bytes_per_connection: float


class Driven(Struct, frozen=True):
    """What the clients saw in the measured slice, over all workers."""

    messages: int
    messages_per_s: float
    duration_s: float
    cpu_share: float  # of the busiest core that workers have
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
    arrived: Connected | None  # a storm's: there is nothing to see before it
    latency: Latency
    latency_from_send: Latency | None
    schedule_lag: Latency | None
    rate_achieved: float | None
    unsent: int  # open loop: messages that never left
    bins: tuple[tuple[int, int], ...]
    intervals: str
    stalls: int | None  # of STALL_NS or longer; None: this kind has none
    longest_stall_s: float | None
    longest_stall_at_s: float | None
    little: float | None  # closed loop: of the clients that had an echo in the slice
    slice_s: float = 0.0  # how long it was to be
    slice_at_s: float | None = None  # when it began, by the workers' monotonic clock
    round_trip_s: float | None = None
    at_ceiling: bool = False
    engine_cpu_s: float = 0.0  # of this process, in the slice
    hosts: tuple[Host, ...] = ()  # of several machines, what each had to do with it
    start_spread_s: float | None = None  # of several machines: their starts lay within


def at_barrier(events: Sequence[dict[str, Any]]) -> Connected:
    return Connected(
        connected=sum(event["connected"] for event in events),
        served=sum(event["served"] for event in events),
        failed=_add(event["failed"] for event in events),
        connect_s=max(event["connect_s"] for event in events),
        bytes_per_connection=sum(event["bytes_per_connection"] for event in events) / len(events),
    )


def merge(results: Sequence[Event], cores: Sequence[Core], depth: int) -> Driven:
    """Adds up what the workers saw; cores: the one that each worker had."""
    intervals = intervals_of.added([result.get("intervals", "") for result in results])
    stalls = _stalls(results) if all("stalls" in result for result in results) else None
    longest = _longest_stall(results, stalls) if stalls is not None else None
    clients = sum(result["clients"] for result in results)
    squares = sum(result["count_square_sum"] for result in results)
    total = sum(result["count_sum"] for result in results)
    least = min(result["least_messages"] for result in results)
    busy = dict.fromkeys(cores, 0.0)
    for core, result in zip(cores, results, strict=True):
        busy[core] += result["cpu_ns"] / result["duration_ns"]
    return Driven(
        messages=sum(result["messages"] for result in results),
        messages_per_s=sum(result["messages"] / result["duration_ns"] * 1e9 for result in results),
        duration_s=max(result["duration_ns"] for result in results) / 1e9,
        cpu_share=max(busy.values()),
        cpu_s=sum(result["cpu_ns"] for result in results) / 1e9,
        lost=sum(result["lost"] for result in results),
        altered=sum(result["altered"] for result in results),
        faults=_add(result["faults"] for result in results),
        errors=_add(result["errors"] for result in results),
        # Jain, Chiu and Hawe 1984: (sum x)^2 / (n sum x^2), 1 when all got the same
        fairness=total * total / (clients * squares) if squares else None,
        slowest_share=least * clients / total if total else None,
        clients_without_echo=sum(result["clients_without_echo"] for result in results),
        retried=sum(result["retried"] for result in results) if "retried" in results[0] else None,
        launched_s=max(result["launched_s"] for result in results)
        if "launched_s" in results[0]
        else None,
        arrived=at_barrier(results) if "served" in results[0] else None,
        latency=_latency([result["latency"] for result in results], intervals),
        latency_from_send=_optional(results, "latency_from_send"),
        schedule_lag=_optional(results, "schedule_lag"),
        rate_achieved=sum(result["rate_achieved"] for result in results)
        if "rate_achieved" in results[0]
        else None,
        unsent=sum(result.get("unsent", 0) for result in results),
        bins=_bins([result.get("bins", []) for result in results]),
        intervals=intervals,
        stalls=None if stalls is None else len(stalls),
        longest_stall_s=longest[1] / 1e9 if longest else None,
        longest_stall_at_s=longest[0] / 1e9 if longest else None,
        little=_little(results, depth),
    )


def _little(results: Sequence[Event], depth: int) -> float | None:
    """What Little's law leaves: 1 where rate × mean latency is the messages on their way.

    Of the clients that had an echo in the slice, each of which has `depth` messages on
    their way all the time (closed loop). Far from 1, the slice was too short to tell a rate.
    """
    if any("latency_sum_ns" not in result for result in results):
        return None
    waited_ns = sum(result["latency_sum_ns"] for result in results)
    there_ns = sum(result["clients_answered"] * result["duration_ns"] for result in results)
    return waited_ns / (there_ns * depth) if there_ns else 0.0


def _stalls(results: Sequence[Event]) -> list[tuple[int, int]]:
    """Stretches in which no worker had an echo: (start in the slice, length), ns.

    Workers began their slices together, within milliseconds; what all of them call a stall
    is one.
    """
    found: list[tuple[int, int]] | None = None
    for result in results:
        mine = [(int(at), int(length)) for at, length in result.get("stalls", ())]
        found = mine if found is None else list(_overlaps(found, mine))
    return [each for each in found or () if each[1] >= STALL_NS]


def _longest_stall(results: Sequence[Event], stalls: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The longest of any length, as (start, length) in ns; of several workers, of those given."""
    if len(results) == 1:
        return results[0].get("longest_stall_at_ns", 0), results[0].get("longest_stall_ns", 0)
    return max(stalls, key=lambda each: each[1], default=(0, 0))


def _overlaps(
    a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    for at, length in a:
        for other_at, other in b:
            begin, end = max(at, other_at), min(at + length, other_at + other)
            if begin < end:
                yield begin, end - begin


def _optional(results: Sequence[dict[str, Any]], key: str) -> Latency | None:
    return _latency([result[key] for result in results]) if key in results[0] else None


def _bins(workers: Sequence[Sequence[Sequence[int]]]) -> tuple[tuple[int, int], ...]:
    """The workers' counts bin by bin, at the first worker's times; they began together."""
    return tuple(
        (int(together[0][0]), sum(int(count) for _, count in together))
        for together in zip(*workers, strict=False)
    )


def _add(counts: Any) -> dict[str, int]:
    return dict(sum((Counter(count) for count in counts), Counter()))


def _latency(encoded: Sequence[str], intervals: str = "") -> Latency:
    """The workers' histograms added up; a percentile that too little lies beyond is left out."""
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
