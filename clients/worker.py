"""One load-generating process: its connections, from the first connect to the last echo.

A connection without a first echo is counted once, under `failed`; what goes wrong after the
first echo, under `errors`. The kinds of load are in loops.py and turnover.py.
"""

import asyncio
import itertools
import random
import resource
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
from conversations import Conversation, Meter, Pipelined
from encrypted import Encrypted, EncryptedPaced, context, negotiated
from latencies import Latencies
from mix import Dispatcher
from orders import Orders
from pacing import Pacer
from plan import HEADER_BYTES, Plan
from saying import say

IP_BIND_ADDRESS_NO_PORT = 24  # Linux: choose the port at connect, by the whole 4-tuple


class Worker:
    """The connections of one process, and its observations of them."""

    def __init__(self, plan: Plan, orders: Orders) -> None:
        self.plan = plan
        self.orders = orders
        self.meter = Meter()
        self.pacer = (
            Dispatcher(self.meter, plan.most_outstanding, plan.mix)
            if plan.mix
            else Pacer(self.meter, plan.most_outstanding, plan.message_bytes)
        )
        self.conversations: list[Conversation] = []
        self.filler = random.Random(0).randbytes(plan.message_bytes - HEADER_BYTES)
        self.sources = itertools.cycle(plan.sources) if plan.sources else None
        self.hosts: list[str] = []  # the server's addresses; only one, once one has answered
        self.arrivals = Latencies()  # from a client's connect call to its first echo
        self.tls = context(plan)
        self.negotiated = ""  # over TLS: protocol and cipher of the first client
        self.connected = 0
        self.connecting_ns = 0  # when the last client began to connect
        self.failed = Counter[str]()  # reason → connections without a first echo

    # Connecting

    async def connect_all(self, at_once: int) -> None:
        """Opens every connection and echoes once on it, at_once at a time."""
        plan = self.plan
        try:
            self.hosts = self.hosts or await addresses(plan)
        except OSError as error:
            self.failed[describe(error)] += plan.clients
            return
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
        await finish(connectors, plan.connect_timeout_s)
        missing = plan.clients - len(self.conversations) - self.failed.total()
        if missing:
            self.failed[f"no first echo within {plan.connect_timeout_s:g} s"] += missing

    async def connect(self, ident: int) -> Conversation:
        """Opens one connection and echoes once on it. Raises OSError."""
        began_ns = self.connecting_ns = time.perf_counter_ns()
        client: Conversation | None = None
        try:
            client = await self.open(ident)
            self.connected += 1
            echoed = asyncio.get_running_loop().create_future()
            client.greet(echoed)
            await echoed
        except asyncio.CancelledError:  # too late: it counts with the time it has waited
            self.arrivals.note(time.perf_counter_ns() - began_ns)
            if client is not None:
                client.mute("too late")
            raise
        self.arrivals.note(time.perf_counter_ns() - began_ns)
        if self.tls and not self.negotiated:
            self.negotiated = negotiated(client)
        return client

    async def open(self, ident: int) -> Conversation:
        """Opens one connection. Raises OSError."""
        loop, plan = asyncio.get_running_loop(), self.plan

        def conversation() -> Conversation:
            if plan.kind == "open":
                if self.tls:
                    return EncryptedPaced(self.pacer, ident, self.filler)
                return self.pacer.client(ident, self.filler)
            if plan.depth > 1:  # writes through the transport in any case
                return Pipelined(self.meter, ident, self.filler, plan.depth)
            return (Encrypted if self.tls else Conversation)(self.meter, ident, self.filler)

        secure: dict[str, Any] = {}
        if self.tls:
            secure = {"ssl": self.tls, "server_hostname": "localhost" if plan.path else plan.host}
        if plan.path:
            return (await loop.create_unix_connection(conversation, plan.path, **secure))[1]
        failure = OSError("the name has no address")
        for host in tuple(self.hosts):
            try:
                if self.sources is None:
                    _, client = await loop.create_connection(
                        conversation, host, plan.port, **secure
                    )
                else:
                    source = next(self.sources)
                    client = await connect_from(source, (host, plan.port), conversation, **secure)
            except OSError as error:
                failure = error
            else:
                self.hosts = [host]
                return client
        raise failure

    # The end

    async def drain(self, empty: Callable[[], bool]) -> None:
        """Waits for the echoes that are still on their way, at most the plan's drain_s."""
        deadline = time.monotonic() + self.plan.drain_s
        while time.monotonic() < deadline and not empty():
            await asyncio.sleep(0.01)

    def report(self, counts: list[int], **figures: object) -> None:
        """Writes the result, with the latencies up to the end of the drain.

        An echo that never came counts with the time it has been waited for. counts: each
        client's echoes. figures: those of the slice, and those that only this kind has.
        """
        meter = self.meter
        waiting = [sent_ns for client in self.conversations for sent_ns in client.sent_times()]
        sent_ns = np.array([*waiting, *meter.unanswered], np.int64)
        meter.latencies.add(time.perf_counter_ns() - sent_ns)
        seen = {
            "lost": sum(client.outstanding for client in self.conversations),
            "altered": meter.altered.total(),
            "faults": meter.altered,
            "errors": meter.errors,
            "clients": len(counts),
            "clients_answered": sum(count > 0 for count in counts),
            "least_messages": min(counts, default=0),
            "count_sum": sum(counts),
            "count_square_sum": sum(count * count for count in counts),
            "latency": meter.latencies.encoded(),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        say("result", **{**seen, **figures})


async def finish(tasks: list[asyncio.Task[None]], timeout_s: float) -> None:
    """Waits for the tasks, then cancels those that are late. Raises what a task raised."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=timeout_s)
    for task in late:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def addresses(plan: Plan) -> list[str]:
    """The server's addresses, looked up once for all connections. Raises OSError."""
    if plan.path:
        return []
    found = await asyncio.get_running_loop().getaddrinfo(
        plan.host, plan.port, type=socket.SOCK_STREAM
    )
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def connect_from(
    source: str,
    address: tuple[str, int],
    conversation: Callable[[], Conversation],
    **secure: Any,
) -> Conversation:
    """Opens a connection from this source address. secure: asyncio's options for TLS.

    Raises OSError.
    """
    loop = asyncio.get_running_loop()
    chosen = from_source(source)
    try:
        await loop.sock_connect(chosen, address)
    except BaseException:
        chosen.close()
        raise
    try:
        _, client = await loop.create_connection(conversation, sock=chosen, **secure)
    except BaseException:
        # The loop has closed the descriptor. Its number may already be another
        # connection's, so it is not closed again.
        chosen.detach()
        raise
    return client


def from_source(source: str) -> socket.socket:
    """A non-blocking socket bound to an address; its port is chosen when it connects."""
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
    """A short name for why a connection failed: the system's text, else the exception's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"no TLS: {error.reason.replace('_', ' ').lower()}"
    return error.strerror or str(error) or type(error).__name__


def resident_bytes() -> int:
    """This process's resident memory, in bytes."""
    return int(psutil.Process().memory_info().rss)
