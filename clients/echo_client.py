"""The shared async client: connects, waits for every first echo, measures, says what it saw.

One process is one worker. It reads a plan (JSON) and writes JSON lines:

  {"event": "connected", ...}   every connection has echoed once, or cannot
  {"event": "sample", ...}      four times a second
  {"event": "result", ...}      the figures of the measured slice, and what was lost

Any program that does the same can stand in for it. See clients/README.md.
"""

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import itertools
import os
import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import psutil
import uvloop
from bins import Bins
from conversations import Conversation, Meter, Pipelined
from latencies import Latencies
from pacing import Paced, Pacer
from plan import HEADER_BYTES, Plan, PlanError, checked, read
from schedule import Schedule
from turnover import churn, storm

SAMPLE_S = 0.25
TALLIED = 65_536  # open loop: values that are tallied even when the next message is near
IP_BIND_ADDRESS_NO_PORT = 24  # Linux: choose the port at connect, by the whole 4-tuple

EXAMPLE = """\
example:
  c10k serve asyncio_streams --bind 127.0.0.1:7000 &
  python clients/echo_client.py --port 7000 --clients 100 --duration 5
  python clients/echo_client.py --port 7000 --clients 100 --kind open --rate 1000

The first as a plan, as the suite gives it:
  echo '{"port": 7000, "clients": 100, "duration_s": 5}' | python clients/echo_client.py --plan -
"""


def say(event: str, **figures: object) -> None:
    """One JSON line on standard output, at once."""
    os.write(1, msgspec.json.encode({"event": event, **figures}) + b"\n")


class Worker:
    """One load-generating process: its connections, from the first connect to the last echo."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.meter = Meter()
        self.pacer = Pacer(self.meter, plan.most_outstanding, plan.message_bytes)
        self.conversations: list[Conversation] = []
        self.filler = random.Random(0).randbytes(plan.message_bytes - HEADER_BYTES)
        self.sources = itertools.cycle(plan.sources) if plan.sources else None
        self.arrivals = Latencies()  # from a client's connect call to its first echo
        self.connected = 0
        self.connecting_ns = 0  # when the last client began to connect
        self.failed = Counter[str]()  # connections without a first echo, by the reason

    async def run(self) -> None:
        """The whole plan."""
        before_bytes = resident_bytes()
        began_ns = time.perf_counter_ns()
        if self.plan.kind != "storm":  # there connecting is what is measured
            await self.connect_all(self.plan.connecting)
        took_s = (time.perf_counter_ns() - began_ns) / 1e9
        # What lives now lives to the end, and the hot path makes no cycles.
        gc.collect()
        gc.freeze()
        gc.disable()
        say(
            "connected",
            connected=self.connected,
            served=len(self.conversations),
            failed=self.failed,
            connect_s=took_s,
            bytes_per_connection=(resident_bytes() - before_bytes) / max(self.connected, 1),
        )
        if self.plan.hold and not sys.stdin.readline():
            return  # whoever was to say when is gone
        kinds = {
            "closed": self.closed_loop,
            "open": self.open_loop,
            "idle": self.idle,
            "storm": lambda: storm(self),
            "churn": lambda: churn(self),
        }
        await kinds[self.plan.kind]()

    # Connecting

    async def connect_all(self, at_once: int) -> None:
        """Opens every connection and echoes once on it, so many at a time."""
        plan = self.plan
        identities = iter(range(plan.first_id, plan.first_id + plan.clients))

        async def connect_some() -> None:
            for ident in identities:
                try:
                    self.conversations.append(await self.connect(ident))
                except OSError as error:
                    self.failed[describe(error)] += 1

        connectors = [
            asyncio.create_task(connect_some()) for _ in range(min(at_once, plan.clients))
        ]
        _, late = await asyncio.wait(connectors, timeout=plan.connect_timeout_s)
        for connector in late:
            connector.cancel()
        for outcome in await asyncio.gather(*connectors, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        missing = plan.clients - len(self.conversations) - self.failed.total()
        if missing:
            self.failed[f"no first echo within {plan.connect_timeout_s:g} s"] += missing

    async def connect(self, ident: int) -> Conversation:
        """Opens one connection and echoes once on it. Raises OSError."""
        loop = asyncio.get_running_loop()
        plan = self.plan

        def conversation() -> Conversation:
            if plan.kind == "open":
                return Paced(self.pacer, ident, self.filler)
            if plan.depth > 1:
                return Pipelined(self.meter, ident, self.filler, plan.depth)
            return Conversation(self.meter, ident, self.filler)

        began_ns = self.connecting_ns = time.perf_counter_ns()
        try:
            if plan.path:
                _, client = await loop.create_unix_connection(conversation, plan.path)
            elif self.sources is None:
                _, client = await loop.create_connection(conversation, plan.host, plan.port)
            else:
                chosen = from_source(next(self.sources))
                try:
                    await loop.sock_connect(chosen, (plan.host, plan.port))
                    _, client = await loop.create_connection(conversation, sock=chosen)
                except BaseException:
                    chosen.close()
                    raise
            self.connected += 1
            echoed = loop.create_future()
            client.greet(echoed)
            await echoed
        except asyncio.CancelledError:  # too late: it counts with the time it has waited
            self.arrivals.note(time.perf_counter_ns() - began_ns)
            raise
        self.arrivals.note(time.perf_counter_ns() - began_ns)
        return client

    # Kinds

    async def closed_loop(self) -> None:
        """Every client sends its next message when the echo has come."""
        meter, clients = self.meter, self.conversations
        bins = Bins(self.plan.bins_ms, lambda: meter.latencies.ever)
        bins.begin()
        meter.sending = True
        for client in clients:
            client.say(time.perf_counter_ns())
        await asyncio.sleep(self.plan.warmup_s)
        meter.latencies.clear()
        for client in clients:
            client.number_at_start = client.number
        start_ns, start_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        await self.sampled(start_ns, self.plan.duration_s, meter.latencies.tally)
        messages = meter.latencies.tally()
        duration_ns = time.perf_counter_ns() - start_ns
        cpu_ns = time.process_time_ns() - start_cpu_ns
        bins.end()
        counts = [client.number - client.number_at_start for client in clients]
        meter.sending = False
        await self.drain(lambda: not any(client.outstanding for client in clients))
        self.report(
            messages,
            duration_ns,
            cpu_ns,
            counts,
            clients_without_echo=counts.count(0),
            bins=bins.readings,
            slice_start_ns=start_ns - bins.began_ns,
        )

    async def open_loop(self) -> None:
        """Messages leave on a schedule that does not wait.

        What is recorded of a message goes by its intended send; what is counted in the
        slice (messages, rate_achieved, CPU) goes by the clock.
        """
        plan, pacer = self.plan, self.pacer
        clients = [client for client in self.conversations if isinstance(client, Paced)]
        warmup_ns, duration_ns = int(plan.warmup_s * 1e9), int(plan.duration_s * 1e9)
        end_ns = warmup_ns + duration_ns
        schedule = Schedule(
            plan.arrivals, plan.rate, len(clients), end_ns, plan.seed, plan.first_id
        )
        bins = Bins(plan.bins_ms, pacer.echoed)
        bins.begin()
        slice_ns = pacer.begin(clients, schedule, warmup_ns)
        await self.until(slice_ns)
        start_ns, start_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        echoed_before, sent_before = pacer.echoed(), pacer.sent()

        def echoed() -> int:
            for histogram in (pacer.lag, pacer.latency, pacer.from_send):
                if histogram.waiting > TALLIED:
                    histogram.tally()
            return pacer.echoed() - echoed_before

        await self.sampled(start_ns, (slice_ns + duration_ns - start_ns) / 1e9, echoed)
        messages, sent = pacer.echoed() - echoed_before, pacer.sent() - sent_before
        took_ns = time.perf_counter_ns() - start_ns
        cpu_ns = time.process_time_ns() - start_cpu_ns
        bins.end()
        await self.drain(lambda: pacer.finished and not pacer.outstanding)
        unsent = pacer.close()
        self.report(
            messages,
            took_ns,
            cpu_ns,
            [client.echoed_in_slice for client in clients],
            clients_without_echo=sum(
                client.sent_in_slice > 0 and not client.echoed_in_slice for client in clients
            ),
            bins=bins.readings,
            slice_start_ns=slice_ns - bins.began_ns,
            intended=pacer.lag.ever + unsent,
            sent=pacer.lag.ever,
            unsent=unsent,
            rate_intended=plan.rate,
            rate_achieved=sent / took_ns * 1e9,
            latency_from_send=pacer.from_send.encoded(),
            schedule_lag=pacer.lag.encoded(),
        )

    async def idle(self) -> None:
        """Every client holds its connection, then echoes once more, some at a time."""
        meter, clients = self.meter, self.conversations
        start_ns, start_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        meter.latencies.clear()
        await self.sampled(start_ns, self.plan.duration_s, meter.latencies.tally)
        duration_ns = time.perf_counter_ns() - start_ns
        cpu_ns = time.process_time_ns() - start_cpu_ns
        waiting = iter([client for client in clients if not client.went_wrong])
        loop = asyncio.get_running_loop()

        async def echo_some() -> None:
            for client in waiting:
                echoed = loop.create_future()
                client.greet(echoed)
                try:
                    await echoed
                except ConnectionError:
                    continue  # counted where it happened

        echoers = [asyncio.create_task(echo_some()) for _ in range(self.plan.connecting)]
        _, late = await asyncio.wait(echoers, timeout=self.plan.drain_s)
        for echoer in late:
            echoer.cancel()
        messages = meter.latencies.tally()
        counts = [client.number - 1 for client in clients]
        self.report(messages, duration_ns, cpu_ns, counts, clients_without_echo=counts.count(0))

    # Measuring

    async def until(self, at_ns: int) -> None:
        """Waits until then, or until the pacer gave up."""
        with contextlib.suppress(TimeoutError):
            delay_s = max(at_ns - time.perf_counter_ns(), 0) / 1e9
            await asyncio.wait_for(self.pacer.stopped.wait(), delay_s)

    async def sampled(self, start_ns: int, duration_s: float, count: Callable[[], int]) -> None:
        """Waits for the slice's end, and says how it goes four times a second.

        The first sample says that the slice starts, the last that it ends.
        """
        end_ns = start_ns + int(duration_s * 1e9)
        tick_ns = start_ns
        self.sample(start_ns, count())
        while tick_ns < end_ns and not self.pacer.stopped.is_set():
            tick_ns = min(tick_ns + int(SAMPLE_S * 1e9), end_ns)
            await self.until(tick_ns)
            self.sample(start_ns, count())

    def sample(self, start_ns: int, messages: int) -> None:
        """Says how far the slice is."""
        elapsed_ns = time.perf_counter_ns() - start_ns
        say("sample", elapsed_ns=elapsed_ns, messages=messages, cpu_ns=time.process_time_ns())

    async def drain(self, empty: Callable[[], bool]) -> None:
        """Waits for the echoes that are still on their way, no longer than the plan says."""
        deadline = time.monotonic() + self.plan.drain_s
        while time.monotonic() < deadline and not empty():
            await asyncio.sleep(0.01)

    def report(
        self, messages: int, duration_ns: int, cpu_ns: int, counts: list[int], **more: object
    ) -> None:
        """The result: messages echoed within the slice; latencies to the end of the drain.

        An echo that never came counts with the time it has been waited for. counts: each
        client's echoes. more: what only this kind has to say.
        """
        meter, now_ns = self.meter, time.perf_counter_ns()
        waits_ns = [wait for client in self.conversations for wait in client.waits_ns(now_ns)]
        meter.latencies.add(np.array(waits_ns, np.int64))
        figures = {
            "messages": messages,
            "duration_ns": duration_ns,
            "cpu_ns": cpu_ns,
            "lost": sum(client.outstanding for client in self.conversations),
            "altered": meter.altered.total(),
            "faults": meter.altered,
            "errors": meter.errors,
            "clients": len(counts),
            "least_messages": min(counts, default=0),
            "count_sum": sum(counts),
            "count_square_sum": sum(count * count for count in counts),
            "latency": meter.latencies.encoded(),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        say("result", **{**figures, **more})


def from_source(source: str) -> socket.socket:
    """A non-blocking socket bound to an address, its port left open until it connects."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    chosen = socket.socket(family, socket.SOCK_STREAM)
    chosen.setblocking(False)
    if sys.platform == "linux":
        chosen.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        chosen.bind((source, 0))
    except OSError:
        chosen.close()
        raise
    return chosen


def describe(error: OSError) -> str:
    """A short name for why a connection failed: the system's, else the exception's."""
    return error.strerror or str(error) or type(error).__name__


def resident_bytes() -> int:
    """This process's resident memory."""
    return int(psutil.Process().memory_info().rss)


def command_line() -> Plan:
    """The plan that the arguments give. Raises PlanError."""
    parser = argparse.ArgumentParser(
        prog="echo_client.py",
        description="Loads an echo server and checks every byte of every echo.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plan", metavar="FILE", help="a JSON plan, - for a line on stdin")
    parser.add_argument("--host", help="the server's address (127.0.0.1)")
    parser.add_argument("--port", type=int, help="the server's port")
    parser.add_argument("--path", help="the server's UNIX socket, instead of host and port")
    parser.add_argument(
        "--kind",
        help="closed: next message after the echo; open: on a schedule; idle: hold; "
        "storm: all connect at once; churn: clients come and go (closed)",
    )
    parser.add_argument("--clients", type=int, help="connections (1)")
    parser.add_argument("--bytes", type=int, dest="message_bytes", help="of a message (64)")
    parser.add_argument("--depth", type=int, help="messages a client keeps on their way (1)")
    parser.add_argument("--rate", type=float, help="open: messages/s, of all clients together")
    parser.add_argument("--arrivals", help="open: poisson or constant (poisson)")
    parser.add_argument("--seed", type=int, help="open: of the schedule (0)")
    parser.add_argument("--duration", type=float, dest="duration_s", help="of the slice, s (5)")
    parser.add_argument("--warmup", type=float, dest="warmup_s", help="before the slice, s (0.5)")
    parser.add_argument("--connecting", type=int, help="connections in flight at a time (128)")
    given = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    source = given.pop("plan", None)
    if source is None:
        return read(msgspec.json.encode(given))
    if given:
        raise PlanError("--plan goes with no other argument: write them into the plan")
    if source == "-":
        return read(sys.stdin.readline())
    try:
        return read(Path(source).read_bytes())
    except OSError as error:
        raise PlanError(f"--plan {source}: {(error.strerror or str(error)).lower()}") from None


def elsewhere(plan: Plan) -> str:
    """What the plan loads when that is not this machine's loopback, in words; else ""."""
    try:
        near = bool(plan.path) or ipaddress.ip_address(plan.host).is_loopback
    except ValueError:
        near = plan.host == "localhost"
    return "" if near else f"loads {plan.host!r} port {plan.port} over the network, unencrypted"


def allow_descriptors(plan: Plan) -> None:
    """Raises the soft limit to the hard one. Raises PlanError when the clients do not fit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = hard - 64
    if plan.clients > room:
        raise PlanError(
            f"{plan.clients} clients need more descriptors than the {hard} this process may "
            f"have: at most {room} fit; ulimit -n {plan.clients + 64} allows more"
        )


async def run_and_leave(plan: Plan) -> None:
    """Runs the plan and ends the process, its loop never closed.

    The kernel closes ten thousand sockets faster than ten thousand transports do, and to
    close the loop takes descriptors, of which there may be none left.
    """
    try:
        await Worker(plan).run()
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        print(f"echo_client: {error.strerror or error}", file=sys.stderr, flush=True)
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def main() -> int:
    try:
        plan = checked(command_line())
        allow_descriptors(plan)
    except PlanError as error:
        print(f"echo_client: {error}", file=sys.stderr)
        return 2
    if said := elsewhere(plan):
        print(f"echo_client: {said}", file=sys.stderr)
    try:
        uvloop.run(run_and_leave(plan))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
