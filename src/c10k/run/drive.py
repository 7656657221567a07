"""Takes client workers from the barrier through the slice, and collects what they saw.

A worker is any program that reads a plan (one JSON line) and writes JSON lines; see
clients/README.md. A crew is the workers of one machine, or of several.

  connected  every worker waits at the barrier; the expensive readings are taken; go
  warmed     the warm-up is over, and how long a round trip takes is known; the server's CPU
             is read, and (closed loop, churn) all are told how long the slice is
  ended      the slice is over; the server's CPU is read again
  result     the last echo has come; the workers stay connected until they are ended

Between `warmed` and `ended` this process waits, and does nothing else, but for what LOOK_S
and QUEUE_LOOK_S say: whoever watches must not disturb (benchmarks/instrument/observer.py).
"""

import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

from msgspec.structs import replace

from ..model import Host, Load
from .events import (
    ClientFailed,
    Core,
    Event,
    WorkerConnected,
    WorkerEnded,
    WorkerResult,
    WorkerWarmed,
)
from .merge import Connected, Driven, at_barrier, merge
from .worker_plans import WorkerPlan

_GRACE_S = 10.0  # for starting, and for what a saturated worker says late
LOOK_S = 1.0  # how often it is asked whether the server and the memory are still there
QUEUE_LOOK_S = 0.1  # storm, churn: how often the accept queue is looked at, one system call

ROUND_TRIPS = 20  # a slice lasts as many, or more
WAITS = 2  # and as many times as long as the last client waited for its first echo


class Crew(Protocol):
    """The workers of a trial, wherever they are."""

    plans: Sequence[WorkerPlan]  # one a worker
    cores: Sequence[Core]  # the one that each worker has
    start_spread_s: float | None

    def said(self, timeout_s: float) -> Sequence[tuple[int, Event]]:
        """What workers said, by their numbers; waits so long for it. Raises ClientFailed."""

    def go(self) -> None:
        """Tells all workers to begin. Raises ClientFailed."""

    def settle(self) -> None:
        """Waits until what is said next reaches the workers at once. Raises ClientFailed."""

    def begin_slice(self, seconds: float) -> None:
        """Tells all workers that the slice begins, and how long it is. Raises ClientFailed."""

    def hosts(self, results: Sequence[WorkerResult]) -> tuple[Host, ...]:
        """Of several machines, what each had to do with these results, one a worker."""


class Watched(Protocol):
    """The server of a trial, as far as it is looked at while the load is driven."""

    def look(self) -> None:
        """Whether it is still there, and memory enough. Raises ClientFailed."""

    def look_at_queue(self) -> None:
        """How long its accept queue is."""

    def connected(self, seen: Connected) -> None:
        """All workers wait at the barrier: the expensive readings."""

    def begin(self) -> None:
        """The slice is about to begin."""

    def end(self) -> None:
        """The slice has ended."""

    def loaded(self) -> None:
        """The last echo has come, and the clients are still connected."""


def slice_s(load: Load, round_trip_s: float, slowest_s: float) -> tuple[float, bool]:
    """How long the slice is to be, in s, and whether its ceiling made it shorter.

    ROUND_TRIPS of what a round trip took in the warm-up on average, and WAITS times what it
    took until the last client was answered, within the load's duration_s and ceiling_s: a
    slice that is shorter than a wait does not see it. An open loop, idle clients and a storm
    do not go in rounds.
    """
    if not load.facts.in_rounds:
        return load.duration_s, False
    wanted_s = max(ROUND_TRIPS * round_trip_s, WAITS * slowest_s)
    most_s = max(load.ceiling_s, load.duration_s)
    return min(max(load.duration_s, wanted_s), most_s), wanted_s > most_s


Said = TypeVar("Said", WorkerConnected, WorkerWarmed, WorkerEnded, WorkerResult)


class _Conversation:
    """What all workers of a crew have said, and the waiting for more."""

    def __init__(self, crew: Crew, watched: Watched, looks_at_queue: bool) -> None:
        self.crew = crew
        self.watched = watched
        self.looks_at_queue = looks_at_queue
        self.heard: list[tuple[int, Event]] = []  # four events a worker at most
        self.looked = time.monotonic()

    def until(self, what: type[Said], limit_s: float) -> list[Said]:
        """That event of every worker, in their order.

        Raises ClientFailed when the server is gone, when a worker is, or after limit_s. What
        has come by then counts: this process may itself have been stopped for a while.
        """
        known = self._known(what)
        deadline = time.monotonic() + limit_s
        while len(known) < len(self.crew.plans):
            heard = self.crew.said(QUEUE_LOOK_S if self.looks_at_queue else LOOK_S)
            self.heard += heard
            known = self._known(what)
            if len(known) == len(self.crew.plans):
                break
            self._look(time.monotonic())
            if not heard and time.monotonic() > deadline:
                missed = what.__struct_config__.tag
                raise ClientFailed(f"the client did not report {missed!r} within {limit_s:g} s")
        return [event for _, event in sorted(known.items())]

    def _known(self, what: type[Said]) -> dict[int, Said]:
        return {number: event for number, event in self.heard if isinstance(event, what)}

    def _look(self, now_s: float) -> None:
        if self.looks_at_queue:
            self.watched.look_at_queue()
        if now_s - self.looked >= LOOK_S:
            self.watched.look()
            self.looked = now_s


def drive(crew: Crew, load: Load, watched: Watched) -> Driven:
    """Takes a crew from the barrier to its results, and has the server read on the way.

    Raises ClientFailed when the server or a worker fails, or the time is over.
    """
    first = crew.plans[0]
    connect_s, drain_s = first.connect_timeout_s, first.drain_s
    workers = _Conversation(crew, watched, load.facts.clients_arrive)
    connected = at_barrier(workers.until(WorkerConnected, connect_s + _GRACE_S))
    watched.connected(connected)
    watched.look()
    if connected.served == 0 and load.facts.waits_at_barrier:
        raise ClientFailed("no client was served")
    if not load.facts.warm_up:
        watched.begin()
    crew.go()
    warmed = workers.until(WorkerWarmed, max(load.warmup_s, load.ceiling_s) + _GRACE_S)
    round_trip_s = max(event.round_trip_ns for event in warmed) / 1e9
    slowest_s = max(event.slowest_ns for event in warmed) / 1e9
    seconds, at_ceiling = slice_s(load, round_trip_s, slowest_s)
    if load.facts.in_rounds:
        crew.settle()
    if load.facts.warm_up:
        watched.begin()
    if load.facts.in_rounds:
        crew.begin_slice(seconds)
    began_cpu_ns = time.process_time_ns()
    longest_s = 1.02 * seconds + 1.5 * round_trip_s if load.facts.lasts_as_planned else connect_s
    ended = workers.until(WorkerEnded, longest_s + _GRACE_S)
    engine_cpu_ns = time.process_time_ns() - began_cpu_ns
    watched.end()
    results = workers.until(WorkerResult, drain_s + _GRACE_S)
    watched.loaded()
    watched.look()
    return replace(
        merge(results, crew.cores, load.depth),
        slice_s=seconds,
        slice_at_s=min(event.start_ns for event in ended) / 1e9,
        round_trip_s=round_trip_s if load.facts.in_rounds else None,
        at_ceiling=at_ceiling,
        engine_cpu_s=engine_cpu_ns / 1e9,
        hosts=crew.hosts(results),
        start_spread_s=crew.start_spread_s,
    )
