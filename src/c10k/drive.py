"""Starts client workers, holds them at the barrier, collects what they saw.

A worker is any program that reads a plan (one JSON line) and writes JSON lines; see
clients/README.md. A crew is the workers of one machine, or of several. The barrier: every
worker says `connected` and waits; when all have, the caller takes its readings, and then
all are told to go.
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
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from . import histograms, keeper, places, stats
from .launch import child_setup, last_line
from .model import Host, Latency, Load, Workload

Event = dict[str, Any]
Core = tuple[str, int]  # a host's name, "" for this one, and the number of its core

_GRACE_S = 10.0  # for starting, and for what a saturated worker says late
_GLANCE_S = 0.1  # how often the server is looked at while nothing is said
_CLOSE_GLANCE_S = 0.02  # the same for a storm and for churn, whose queues come and go quickly
# A source address has the local port range, some 28,000 ports. Finding a free one takes the
# kernel long when half of them are taken: 20,000 clients from one address take 8 s to connect.
_SOURCES = 4  # addresses a worker, where one is not enough
_PORTS = 12_000  # clients for which one address is enough
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

    def hosts(self, results: Sequence[Event]) -> tuple[Host, ...]:
        """Of several machines, what each had to do with these results, one a worker."""


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


def addresses(load: Load, workers: int) -> int:
    """From how many source addresses the clients connect: each has its own ports."""
    if sys.platform == "linux" and (load.kind == "churn" or load.clients > _PORTS):
        return workers * _SOURCES
    return 1


def glance_s(kind: str) -> float:
    """How often the server is looked at while nothing is said, s."""
    return _CLOSE_GLANCE_S if kind in ("storm", "churn") else _GLANCE_S


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

    def hosts(self, results: Sequence[Event]) -> tuple[Host, ...]:
        """None but this one."""
        return ()


def drive(
    crew: Crew,
    *,
    on_wait: Callable[[], None],
    on_connected: Callable[[Connected], None],
    on_sample: Callable[[], None],
) -> Driven:
    """Takes a crew from the barrier to its results.

    on_wait is called now and then, and may raise ClientFailed; on_connected once, with all
    workers held at the barrier; on_sample when samples have come, first when a slice
    starts, last when it ends. Raises ClientFailed when a worker fails or the time is over.
    """
    first = crew.plans[0]
    storm = first["kind"] == "storm"
    wait_s = glance_s(first["kind"])
    arrived: dict[int, Event] = {}
    results: dict[int, Event] = {}

    def until(known: dict[int, Event], limit_s: float, what: str) -> list[Event]:
        """The events of all workers, in their order."""
        deadline = time.monotonic() + limit_s
        while len(known) < len(crew.plans):
            said = crew.said(wait_s)
            for number, event in said:
                match event.get("event"):
                    case "connected":
                        arrived[number] = event
                    case "result":
                        results[number] = event
            if any(event.get("event") == "sample" for _, event in said):
                on_sample()
            on_wait()
            if time.monotonic() > deadline:
                raise ClientFailed(f"the client gave no {what} within {limit_s:g} s")
        return [event for _, event in sorted(known.items())]

    connected = _barrier(
        until(arrived, first["connect_timeout_s"] + _GRACE_S, "word that it is connected")
    )
    on_connected(connected)
    if connected.served == 0 and not storm:
        raise ClientFailed("no client was served")
    crew.go()
    loading_s = first["connect_timeout_s"] if storm else first["warmup_s"] + first["duration_s"]
    ended = until(results, loading_s + first["drain_s"] + _GRACE_S, "result")
    return replace(
        merge(ended, crew.cores), hosts=crew.hosts(ended), start_spread_s=crew.start_spread_s
    )


def _barrier(events: Sequence[dict[str, Any]]) -> Connected:
    return Connected(
        connected=sum(event["connected"] for event in events),
        served=sum(event["served"] for event in events),
        failed=_add(event["failed"] for event in events),
        connect_s=max(event["connect_s"] for event in events),
        bytes_per_connection=sum(event["bytes_per_connection"] for event in events) / len(events),
    )


def merge(results: Sequence[Event], cores: Sequence[Core]) -> Driven:
    """Adds up what the workers saw; cores: the one that each worker had."""
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
        latency=_latency([result["latency"] for result in results]),
        latency_from_send=_optional(results, "latency_from_send"),
        schedule_lag=_optional(results, "schedule_lag"),
        rate_achieved=sum(result["rate_achieved"] for result in results)
        if "rate_achieved" in results[0]
        else None,
        unsent=sum(result.get("unsent", 0) for result in results),
        bins=_bins([result.get("bins", []) for result in results]),
    )


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


def _latency(encoded: Sequence[str]) -> Latency:
    """The workers' histograms added up; percentiles with too few samples beyond are left out."""
    merged = histograms.empty()
    for each in encoded:
        merged.add(histograms.decoded(each))
    count = int(merged.get_total_count())

    def at(percent: float) -> float | None:
        if not stats.percentile_allowed(count, percent):
            return None
        return float(merged.get_value_at_percentile(percent)) / 1000

    return Latency(
        count=count,
        p50_us=at(50),
        p90_us=at(90),
        p99_us=at(99),
        p999_us=at(99.9),
        max_us=float(merged.get_max_value()) / 1000 if count else None,
        histogram=merged.encode().decode("ascii"),
    )
