"""The clients on asyncio protocols over uvloop: the reference, and what TLS and mixes run on."""

import asyncio
import itertools
import random
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns as clock
from typing import Any

import numpy as np
from conversations import Conversation, Meter, Pipelined
from crowd import Crowd, Turnover, addresses, describe
from encrypted import Encrypted, EncryptedPaced, context, negotiated
from latencies import TALLIED, Latencies
from mix import Dispatcher
from pacing import Paced, Pacer
from plan import HEADER_BYTES, Plan
from schedule import Schedule

IP_BIND_ADDRESS_NO_PORT = 24  # Linux: choose the port at connect, by the whole 4-tuple
GENERATION = 1 << 40  # the distance between the ids of a client and its replacement
PAUSE_S = 0.01  # after a failure to connect, so that failing is not a busy loop
_TOTAL_RETRANS = 100  # offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)


class AsyncioCrowd(Crowd):
    """Connections that are asyncio protocols."""

    loops = "asyncio"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.meter = Meter()
        self.pacer = (
            Dispatcher(self.meter, plan.most_outstanding, plan.mix)
            if plan.mix
            else Pacer(self.meter, plan.most_outstanding, plan.message_bytes)
        )
        self.arrivals = Latencies()
        self.conversations: list[Conversation] = []
        self.filler = random.Random(0).randbytes(plan.message_bytes - HEADER_BYTES)
        self.sources = itertools.cycle(plan.sources) if plan.sources else None
        self.hosts: list[str] = []  # the server's addresses; only one, once one has answered
        self.tls = context(plan)

    @property
    def served(self) -> int:
        return len(self.conversations)

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

    # What all have said and heard

    def mark(self) -> None:
        for client in self.conversations:
            client.number_at_start = client.number

    def counts(self) -> Sequence[int]:
        return [client.number - client.number_at_start for client in self.conversations]

    def all_answered(self) -> bool:
        return all(
            client.number > client.number_at_start or client.ended for client in self.conversations
        )

    def outstanding(self) -> int:
        return sum(client.outstanding for client in self.conversations)

    def waiting_since_ns(self) -> np.ndarray:
        waiting = [sent_ns for client in self.conversations for sent_ns in client.sent_times()]
        return np.array([*waiting, *self.meter.unanswered], np.int64)

    def faults(self) -> Counter[str]:
        return self.meter.altered

    def errors(self) -> Counter[str]:
        return self.meter.errors

    def retried(self) -> int:
        return sum(map(sent_again, self.conversations))

    # What they do

    def say_all(self) -> None:
        for client in self.conversations:
            client.say(clock())

    async def greet_again(self) -> None:
        waiting = iter([client for client in self.conversations if not client.ended])
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

    def paced(self) -> Iterable[Paced]:
        return (client for client in self.conversations if isinstance(client, Paced))

    def begin_pacing(self, schedule: Schedule, warmup_ns: int) -> int:
        return self.pacer.begin(list(self.paced()), schedule, warmup_ns)

    def in_slice(self) -> tuple[Sequence[int], Sequence[int]]:
        return (
            [client.sent_in_slice for client in self.paced()],
            [client.echoed_in_slice for client in self.paced()],
        )

    def turnover(self, at_a_time: int) -> Turnover:
        return Replacing(self, at_a_time)


class Replacing(Turnover):
    """One task for each client that is on its way out or in."""

    def __init__(self, crowd: AsyncioCrowd, at_a_time: int) -> None:
        self.crowd, self.at_a_time = crowd, at_a_time
        # A new client counts once it is served, not with each echo, so this needs its own meter.
        self.meter = Meter(crowd.arrivals)
        self.there = deque(crowd.conversations)
        self.going_on = True

    def begin(self) -> None:
        self.tasks = [asyncio.create_task(self.replace_some()) for _ in range(self.at_a_time)]

    def end(self) -> None:
        self.going_on = False

    async def finish(self, timeout_s: float) -> None:
        await finish(self.tasks, timeout_s)
        self.crowd.conversations = list(self.there)

    async def replace_some(self) -> None:
        while self.going_on:
            leaver = self.there.popleft()
            await part(self.crowd, leaver)
            try:
                comer = await arrive(self.crowd, ident_of(leaver))
            except asyncio.CancelledError:
                self.lost += 1
                raise
            # A client sends nothing between its echo and its end, so this count is complete.
            self.retried += self.within and sent_again(comer)
            self.there.append(comer)
            if (unread := self.crowd.meter.latencies).waiting > TALLIED:
                unread.clear()  # of the same echoes, without the connecting
            self.meter.heard(clock())


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


async def part(crowd: "AsyncioCrowd", leaver: Conversation) -> None:
    """Ends a client's stream and waits until the server has closed it."""
    if leaver.ended:
        return
    gone = asyncio.get_running_loop().create_future()
    leaver.leave(gone)
    try:
        await gone
    except OSError:
        pass  # already counted
    except asyncio.CancelledError:
        crowd.meter.errors["not closed by the server"] += 1
        raise


async def arrive(crowd: "AsyncioCrowd", ident: int) -> Conversation:
    """A new client in a free place; failures to connect are counted and tried again."""
    while True:
        ident += GENERATION
        try:
            return await crowd.connect(ident)
        except OSError as error:
            crowd.meter.errors[describe(error)] += 1
            await asyncio.sleep(PAUSE_S)


def ident_of(client: Conversation) -> int:
    """The id that its messages carry."""
    return int.from_bytes(client.prefix[:8], "little")


def sent_again(client: Conversation) -> bool:
    """Whether the kernel had to send anything again for this client; False if unknown."""
    if client.ended or not hasattr(socket, "TCP_INFO"):
        return False
    try:
        with socket.socket(fileno=client.fd) as connection:
            try:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            finally:
                connection.detach()  # it still belongs to the transport
    except OSError:  # a UNIX socket, or one that has ended
        return False
    return bool(struct.unpack_from("I", info, _TOTAL_RETRANS)[0])
