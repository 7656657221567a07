"""Takes client workers from the barrier through the slice, and collects their results.

A worker is any program that reads a plan (one JSON line) and writes JSON lines; see
clients/README.md. A crew is all workers of a trial, on one machine or on several. The events:

  connected  every worker waits at the barrier; the expensive readings are taken; then all go
  warmed     the warm-up is over, and the duration of a round trip is known; the server's CPU
             time is read, and (closed loop, churn) all workers get the length of the slice
  ended      the slice is over; the server's CPU time is read again
  result     the last echo has come; the workers stay connected until they are stopped

Between `warmed` and `ended` this process only waits, apart from the checks every LOOK_S and
QUEUE_LOOK_S, because watching must not disturb (benchmarks/instrument/observer.py).
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

_GRACE_S = 10.0  # for the start of workers, and for late events of saturated workers
LOOK_S = 1.0  # how often the server and the free memory are checked
QUEUE_LOOK_S = 0.25  # storm, churn: how often the accept queue is read, with one system call

ROUND_TRIPS = 20  # a slice lasts at least this many round trips
WAITS = 2  # and at least this many times the last client's wait for its first echo


class Crew(Protocol):
    """The client workers of a trial, on whichever machines."""

    plans: Sequence[WorkerPlan]  # one for each worker
    cores: Sequence[Core]  # one for each worker
    start_spread_s: float | None

    def said(self, timeout_s: float) -> Sequence[tuple[int, Event]]:
        """(worker's number, event); waits up to timeout_s for the first. Raises ClientFailed."""

    def go(self) -> None:
        """Tells all workers to begin. Raises ClientFailed."""

    def settle(self) -> None:
        """Waits until the next call reaches the workers without delay. Raises ClientFailed."""

    def begin_slice(self, seconds: float) -> None:
        """Tells all workers that the slice begins, and how long it is. Raises ClientFailed."""

    def hosts(self, results: Sequence[WorkerResult]) -> tuple[Host, ...]:
        """Each client machine's part in the results (one for each worker); empty for this one."""


class Watched(Protocol):
    """The server of a trial, as it is observed while the load is driven."""

    def look(self) -> None:
        """Raises ClientFailed when the server is gone or too much memory is used."""

    def look_at_queue(self) -> None:
        """Reads the length of its accept queue."""

    def connected(self, seen: Connected) -> None:
        """Takes the expensive readings; all workers wait at the barrier."""

    def begin(self) -> None:
        """Takes the readings before the slice."""

    def end(self) -> None:
        """Takes the readings after the slice."""

    def loaded(self) -> None:
        """Reads the memory once the last echo has come; the clients are still connected."""


def slice_s(load: Load, round_trip_s: float, slowest_s: float) -> tuple[float, bool]:
    """The length of the slice in s, and whether the load's ceiling made it shorter.

    It is ROUND_TRIPS times the average round trip of the warm-up or WAITS times the wait until
    the last client was answered, whichever is longer, but within duration_s and ceiling_s. A
    slice shorter than a wait would not see that wait. An open loop, idle clients and a storm
    do not go in rounds, so their slice lasts duration_s.
    """
    if not load.facts.in_rounds:
        return load.duration_s, False
    wanted_s = max(ROUND_TRIPS * round_trip_s, WAITS * slowest_s)
    most_s = max(load.ceiling_s, load.duration_s)
    return min(max(load.duration_s, wanted_s), most_s), wanted_s > most_s


Said = TypeVar("Said", WorkerConnected, WorkerWarmed, WorkerEnded, WorkerResult)


class _Conversation:
    """Collects the events of a crew, and waits for further ones."""

    def __init__(self, crew: Crew, watched: Watched, looks_at_queue: bool) -> None:
        self.crew = crew
        self.watched = watched
        self.looks_at_queue = looks_at_queue
        self.heard: list[tuple[int, Event]] = []  # at most four events for each worker
        self.looked = time.monotonic()

    def until(self, what: type[Said], limit_s: float) -> list[Said]:
        """Waits for one kind of event from every worker; returns it in the workers' order.

        Raises ClientFailed when the server or a worker is gone, or after limit_s. Events that
        are already there after limit_s still count, because this process itself may have been
        suspended for a while.
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
    """Takes a crew from the barrier to its results, and takes the server's readings meanwhile.

    Raises ClientFailed when the server or a worker fails, or does not answer in time.
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
