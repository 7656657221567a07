"""Starts client workers, holds them at the barrier, collects what they saw.

A worker is any program that reads a plan (one JSON line) and writes JSON lines; see
clients/README.md. The barrier: every worker says `connected` and waits; when all have,
the caller takes its readings, and then all are told to go.
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
from typing import Any

from msgspec import Struct

from . import histograms, keeper, places, stats
from .launch import Running, child_setup, last_line
from .model import Latency, Load, Workload

_GRACE_S = 10.0  # for starting, and for what a saturated worker says late
_GLANCE_S = 0.1  # how often the server is looked at while nothing is said
_CLOSE_GLANCE_S = 0.02  # the same for a storm and for churn, whose queues come and go quickly
# A source address has the local port range, some 28,000 ports. Finding a free one takes the
# kernel long when half of them are taken: 20,000 clients from one address take 8 s to connect.
_SOURCES = 4  # addresses a worker, where one is not enough
_PORTS = 12_000  # clients for which one address is enough
_LINE_BYTES = 16 * 1024 * 1024


class ClientFailed(Exception):
    """The load could not be driven to its end; the message is the trial's reason."""


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


class _Worker:
    """One client process and the part of its output that has come."""

    def __init__(self, plan: dict[str, Any], cpu: int | None, stack: ExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=keeper.keeper().folder))
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
        self.connected: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None
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


def plans(
    running: Running, workload: Workload, load: Load, workers: int, seed: int
) -> list[dict[str, Any]]:
    """One client plan a worker; clients, connecting and rate are split evenly."""
    address = running.address
    target: dict[str, Any] = (
        {"path": address} if isinstance(address, str) else {"host": address[0], "port": address[1]}
    )
    workers = min(workers, load.clients)
    several = addresses(load, workers) > 1 and target.get("host") == "127.0.0.1"
    share, rest = divmod(load.clients, workers)
    made, first = [], 0
    for index in range(workers):
        clients = share + (index < rest)
        made.append(
            {
                **target,
                "kind": load.kind,
                "clients": clients,
                "first_id": first,
                "message_bytes": load.message_bytes,
                "depth": load.depth,
                "connecting": max(1, workload.connecting // workers),
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
                **(
                    {"sources": [f"127.0.{1 + index}.{1 + each}" for each in range(_SOURCES)]}
                    if several
                    else {}
                ),
                "drain_s": workload.drain_s,
                "hold": True,
            }
        )
        first += clients
    return made


def drive(
    worker_plans: Sequence[dict[str, Any]],
    cpus: Sequence[int],
    *,
    server_gone: Callable[[], str],
    on_wait: Callable[[], None],
    on_connected: Callable[[Connected], None],
    on_sample: Callable[[], None],
) -> Driven:
    """Runs one worker a plan, each on a core of `cpus` (in turn; none: unpinned).

    on_wait is called now and then; on_connected once, with all workers held at the
    barrier; on_sample at each sample, the first when a slice starts, the last when it ends.
    Raises ClientFailed, with nothing left running, when the server is gone, a worker
    fails or the time is over.
    """
    first = worker_plans[0]
    storm = first["kind"] == "storm"
    glance_s = _CLOSE_GLANCE_S if first["kind"] in ("storm", "churn") else _GLANCE_S
    with ExitStack() as stack:
        workers = [
            _Worker(plan, cpus[index % len(cpus)] if cpus else None, stack)
            for index, plan in enumerate(worker_plans)
        ]
        watching = stack.enter_context(selectors.DefaultSelector())
        for worker in workers:
            assert worker.process.stdout is not None
            watching.register(worker.process.stdout, selectors.EVENT_READ, worker)

        def until(done: Callable[[], bool], limit_s: float, what: str) -> None:
            deadline = time.monotonic() + limit_s
            while not done():
                for key, _ in watching.select(timeout=glance_s):
                    for event in key.data.read():
                        _take(key.data, event, on_sample)
                    if key.data.result is not None:
                        watching.unregister(key.fileobj)
                if reason := server_gone():
                    raise ClientFailed(reason)
                if time.monotonic() > deadline:
                    raise ClientFailed(f"the client gave no {what} within {limit_s:g} s")
                on_wait()

        until(
            lambda: all(worker.connected for worker in workers),
            first["connect_timeout_s"] + _GRACE_S,
            "word that it is connected",
        )
        connected = _barrier([worker.connected or {} for worker in workers])
        on_connected(connected)
        if connected.served == 0 and not storm:
            raise ClientFailed("no client was served")
        for worker in workers:
            worker.tell("go")
        until(
            lambda: all(worker.result for worker in workers),
            (first["connect_timeout_s"] if storm else first["warmup_s"] + first["duration_s"])
            + first["drain_s"]
            + _GRACE_S,
            "result",
        )
        busy = [cpus[index % len(cpus)] if cpus else index for index in range(len(workers))]
        return _merge([worker.result or {} for worker in workers], busy)


def _take(worker: _Worker, event: dict[str, Any], on_sample: Callable[[], None]) -> None:
    match event.get("event"):
        case "connected":
            worker.connected = event
        case "sample":
            on_sample()
        case "result":
            worker.result = event


def _barrier(events: Sequence[dict[str, Any]]) -> Connected:
    return Connected(
        connected=sum(event["connected"] for event in events),
        served=sum(event["served"] for event in events),
        failed=_add(event["failed"] for event in events),
        connect_s=max(event["connect_s"] for event in events),
        bytes_per_connection=sum(event["bytes_per_connection"] for event in events) / len(events),
    )


def _merge(results: Sequence[dict[str, Any]], cores: Sequence[int]) -> Driven:
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
