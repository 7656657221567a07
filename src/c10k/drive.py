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

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from . import histograms, keeper, places, stats
from . import intervals as intervals_of
from .launch import child_setup, last_line
from .model import Host, Latency, Load, Workload

Event = dict[str, Any]
Core = tuple[str, int]  # a host's name, "" for this one, and the number of its core

_GRACE_S = 10.0  # for starting, and for what a saturated worker says late
LOOK_S = 1.0  # how often it is asked whether the server and the memory are still there
QUEUE_LOOK_S = 0.1  # storm, churn: how often the accept queue is looked at, one system call
STALL_NS = 10_000_000  # a shorter one is not counted
ROUND_TRIPS = 20  # a slice lasts as many, or more
WAITS = 2  # and as many times as long as the last client waited for its first echo
# A source address has the local port range, some 28,000 ports. Finding a free one takes the
# kernel long when half of them are taken: 20,000 clients from one address take 8 s to connect.
_SOURCES = 4  # addresses a worker, where one is not enough
_PORTS = 12_000  # clients for which one address is enough
_IN_ROUNDS = ("closed", "churn")  # kinds whose slice follows the round trip
_AT_ONCE = ("idle", "storm")  # kinds that have no warm-up
_QUEUED = ("storm", "churn")  # kinds in which clients come, and may have to queue
_LINE_BYTES = 16 * 1024 * 1024


class ClientFailed(Exception):
    """The load could not be driven to its end; the message is the trial's reason.

    vanished: the name of the host that was gone, when that is why.
    """

    def __init__(self, reason: str, vanished: str = "") -> None:
        super().__init__(reason)
        self.vanished = vanished


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


class Crew(Protocol):
    """The workers of a trial, wherever they are."""

    plans: Sequence[dict[str, Any]]  # one a worker
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

    def hosts(self, results: Sequence[Event]) -> tuple[Host, ...]:
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


class _Worker:
    """One client process and the part of its output that has come."""

    def __init__(self, plan: dict[str, Any], cpu: int | None, stack: ExitStack) -> None:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(dir=keeper.keeper().folder, ignore_cleanup_errors=True)
        )
        self.log = Path(folder) / "stderr"
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(places.CLIENT), "--plan", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=child_setup(None if cpu is None else [cpu]),
            )
        stack.callback(self.end)
        self.received = b""
        self.tell(json.dumps(plan))

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ClientFailed(self.gone()) from None

    def read(self) -> list[dict[str, Any]]:
        """The events that have come. Raises ClientFailed at the end of output."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 20)
        if not chunk:
            raise ClientFailed(self.gone())
        *lines, self.received = (self.received + chunk).split(b"\n")
        if len(self.received) > _LINE_BYTES:
            raise ClientFailed("the client writes a line without end")
        try:
            events = [json.loads(line) for line in lines]
        except ValueError:
            raise ClientFailed("the client wrote a line that is not JSON") from None
        return [event for event in events if isinstance(event, dict)]

    def gone(self) -> str:
        """Why the worker ended before its result."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the client closed its output before its result"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        last = last_line(self.log)
        return f"the client {how}" + (f": {last}" if last else "")

    def end(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def queues(load: Load) -> bool:
    """Whether clients come during the load, so that the accept queue is looked at."""
    return load.kind in _QUEUED


def addresses(load: Load, workers: int) -> int:
    """From how many source addresses the clients connect: each has its own ports."""
    if sys.platform == "linux" and (load.kind == "churn" or load.clients > _PORTS):
        return workers * _SOURCES
    return 1


def slice_s(load: Load, round_trip_s: float, slowest_s: float) -> tuple[float, bool]:
    """How long the slice is to be, in s, and whether its ceiling made it shorter.

    ROUND_TRIPS of what a round trip took in the warm-up on average, and WAITS times what it
    took until the last client was answered, within the load's duration_s and ceiling_s: a
    slice that is shorter than a wait does not see it. An open loop, idle clients and a storm
    do not go in rounds.
    """
    if load.kind not in _IN_ROUNDS:
        return load.duration_s, False
    wanted_s = max(ROUND_TRIPS * round_trip_s, WAITS * slowest_s)
    most_s = max(load.ceiling_s, load.duration_s)
    return min(max(load.duration_s, wanted_s), most_s), wanted_s > most_s


def even(clients: int, workers: int) -> list[int]:
    """How many clients each worker has when they are split evenly; none has none."""
    workers = min(workers, clients)
    share, rest = divmod(clients, workers)
    return [share + (index < rest) for index in range(workers)]


def plans(
    address: tuple[str, int] | str,
    workload: Workload,
    load: Load,
    shares: Sequence[int],
    seed: int,
    sources: Sequence[Sequence[str]] = (),
) -> list[dict[str, Any]]:
    """One client plan a worker, of which each has so many clients and its part of the rest.

    sources: the addresses that each worker connects from; without them many clients of
    this machine's own server rotate through those of its loopback.
    """
    target: dict[str, Any] = (
        {"path": address} if isinstance(address, str) else {"host": address[0], "port": address[1]}
    )
    if not sources and target.get("host") == "127.0.0.1" and addresses(load, len(shares)) > 1:
        sources = [
            [f"127.0.{1 + index}.{1 + each}" for each in range(_SOURCES)]
            for index in range(len(shares))
        ]
    made, first = [], 0
    for index, clients in enumerate(shares):
        made.append(
            {
                **target,
                "kind": load.kind,
                "clients": clients,
                "first_id": first,
                "message_bytes": load.message_bytes,
                "depth": load.depth,
                "connecting": max(1, workload.connecting * clients // load.clients),
                "connect_timeout_s": workload.connect_timeout_s,
                "warmup_s": load.warmup_s,
                "duration_s": load.duration_s,
                "ceiling_s": load.ceiling_s,
                **(
                    {
                        "rate": load.rate * clients / load.clients,
                        "arrivals": load.arrivals,
                        "seed": seed,
                    }
                    if load.kind == "open"
                    else {}
                ),
                **({"sources": list(sources[index])} if sources and sources[index] else {}),
                "drain_s": workload.drain_s,
                "hold": True,
            }
        )
        first += clients
    return made


class LocalCrew:
    """The workers of this machine, each on a core of `cpus` (in turn; none: unpinned).

    As a with block: whatever happens, none is left running.
    """

    start_spread_s: float | None = None

    def __init__(self, worker_plans: Sequence[dict[str, Any]], cpus: Sequence[int]) -> None:
        self.plans = worker_plans
        self.cores: Sequence[Core] = [
            ("", cpus[index % len(cpus)] if cpus else index) for index in range(len(worker_plans))
        ]
        self.stack = ExitStack()
        self.watching = self.stack.enter_context(selectors.DefaultSelector())
        try:
            self.workers = [
                _Worker(plan, core if cpus else None, self.stack)
                for plan, (_, core) in zip(worker_plans, self.cores, strict=True)
            ]
        except BaseException:
            self.stack.close()
            raise
        for number, worker in enumerate(self.workers):
            assert worker.process.stdout is not None
            self.watching.register(worker.process.stdout, selectors.EVENT_READ, number)

    def __enter__(self) -> "LocalCrew":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def said(self, timeout_s: float) -> list[tuple[int, Event]]:
        """What workers said, by their numbers; waits so long for it. Raises ClientFailed."""
        found = []
        for key, _ in self.watching.select(timeout=timeout_s):
            events = self.workers[key.data].read()
            found += [(key.data, event) for event in events]
            if any(event.get("event") == "result" for event in events):
                self.watching.unregister(key.fileobj)
        return found

    def go(self) -> None:
        """Tells all workers to begin."""
        for worker in self.workers:
            worker.tell("go")

    def settle(self) -> None:
        """Nothing is ever on its way to a worker of this machine."""

    def begin_slice(self, seconds: float) -> None:
        """Tells all workers that the slice begins, and how long it is."""
        for worker in self.workers:
            worker.tell(json.dumps({"slice_s": seconds}))

    def hosts(self, results: Sequence[Event]) -> tuple[Host, ...]:
        """None but this one."""
        return ()


class _Conversation:
    """What all workers of a crew have said, and the waiting for more."""

    def __init__(self, crew: Crew, watched: Watched, looks_at_queue: bool) -> None:
        self.crew = crew
        self.watched = watched
        self.looks_at_queue = looks_at_queue
        self.said: dict[str, dict[int, Event]] = {}
        self.looked = time.monotonic()

    def until(self, what: str, limit_s: float) -> list[Event]:
        """The event of that name of every worker, in their order.

        Raises ClientFailed when the server is gone, when a worker is, or after limit_s. What
        has come by then counts: this process may itself have been stopped for a while.
        """
        known = self.said.setdefault(what, {})
        deadline = time.monotonic() + limit_s
        while len(known) < len(self.crew.plans):
            heard = self.crew.said(QUEUE_LOOK_S if self.looks_at_queue else LOOK_S)
            for number, event in heard:
                self.said.setdefault(str(event.get("event")), {})[number] = event
            if len(known) == len(self.crew.plans):
                break
            self._look(time.monotonic())
            if not heard and time.monotonic() > deadline:
                raise ClientFailed(f"the client did not report {what!r} within {limit_s:g} s")
        return [event for _, event in sorted(known.items())]

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
    connect_s, drain_s = first["connect_timeout_s"], first["drain_s"]
    workers = _Conversation(crew, watched, queues(load))
    connected = _barrier(workers.until("connected", connect_s + _GRACE_S))
    watched.connected(connected)
    watched.look()
    if connected.served == 0 and load.kind != "storm":
        raise ClientFailed("no client was served")
    if load.kind in _AT_ONCE:
        watched.begin()
    crew.go()
    warmed = workers.until("warmed", max(load.warmup_s, load.ceiling_s) + _GRACE_S)
    round_trip_s = max(event["round_trip_ns"] for event in warmed) / 1e9
    slowest_s = max(event.get("slowest_ns", 0) for event in warmed) / 1e9
    seconds, at_ceiling = slice_s(load, round_trip_s, slowest_s)
    if load.kind in _IN_ROUNDS:
        crew.settle()
    if load.kind not in _AT_ONCE:
        watched.begin()
    if load.kind in _IN_ROUNDS:
        crew.begin_slice(seconds)
    began_cpu_ns = time.process_time_ns()
    longest_s = connect_s if load.kind == "storm" else 1.02 * seconds + 1.5 * round_trip_s
    ended = workers.until("ended", longest_s + _GRACE_S)
    engine_cpu_ns = time.process_time_ns() - began_cpu_ns
    watched.end()
    results = workers.until("result", drain_s + _GRACE_S)
    watched.loaded()
    watched.look()
    return replace(
        merge(results, crew.cores, load.depth),
        slice_s=seconds,
        slice_at_s=min(event["start_ns"] for event in ended) / 1e9,
        round_trip_s=round_trip_s if load.kind in _IN_ROUNDS else None,
        at_ceiling=at_ceiling,
        engine_cpu_s=engine_cpu_ns / 1e9,
        hosts=crew.hosts(results),
        start_spread_s=crew.start_spread_s,
    )


def _barrier(events: Sequence[dict[str, Any]]) -> Connected:
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
        arrived=_barrier(results) if "served" in results[0] else None,
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
    merged = histograms.empty()
    for each in encoded:
        merged.add(histograms.decoded(each))
    count = int(merged.get_total_count())

    def at(percent: float) -> float | None:
        value_ns = int(merged.get_value_at_percentile(percent))
        beyond = intervals_of.holding(intervals, value_ns)
        if not stats.percentile_allowed(count, percent, beyond):
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
