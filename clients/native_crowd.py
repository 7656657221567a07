"""The clients in C: inner_loops.c, loaded as a shared library, and what decides around it.

The C side serves the clients for TURN_NS at a time within one callback of the event loop; so
everything else here is the same async code as with asyncio's clients. It calls back when an alarm
is due, for a stretch without an echo that is worth a note, and for the next chunk of a schedule.
"""

import asyncio
import ctypes
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter_ns as clock
from typing import Any

import numpy as np
from crowd import Crowd, Turnover, addresses, describe
from native import (
    CALL,
    CLIENT,
    CONNECTING,
    ENDED,
    FAULTS,
    GREETING,
    LEAVING,
    PAUSING,
    REASONS,
    Field,
    NativeLatencies,
    NativeMeter,
    Shared,
    address_of,
    copied,
    internet,
    packed,
    reason_of,
    unix,
)
from pacing import CHUNK, Paced, Pacer
from plan import HEADER_BYTES, Plan, PlanError
from schedule import Schedule

TURN_NS = 20_000_000  # how long the C side goes on before the event loop has a turn


class NativeCrowd(Crowd):
    """Connections whose inner loops are in C."""

    loops = "C"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        try:
            self.library = ctypes.CDLL(plan.library)
            for name in ("size_of_loops", "copy_nodes", "count_sent_again"):
                getattr(self.library, name).restype = ctypes.c_int64
            fits = self.library.size_of_loops() == ctypes.sizeof(Shared)
        except (OSError, AttributeError) as error:
            raise PlanError(f"the plan's library: {error}") from None
        if not fits:
            raise PlanError(f"the plan's library: {plan.library} is of another version")
        self.shared = shared = Shared()
        self.reference = ctypes.byref(shared)
        self.clients = np.zeros(plan.clients, CLIENT)
        self.clients["fd"] = -1
        self.clients["id"] = np.arange(plan.first_id, plan.first_id + plan.clients)
        self.order = np.zeros(plan.clients, np.int32)
        self.tables = np.zeros((4, REASONS), np.int64)
        filler = random.Random(0).randbytes(plan.message_bytes - HEADER_BYTES)
        self.message = np.frombuffer(bytearray(8) + filler + bytes(8), np.uint8)
        self.arrivals = NativeLatencies()
        latencies = NativeLatencies()
        self.meter = NativeMeter(shared, latencies)
        self.pacer = NativePacer(self, plan)
        shared.latency, shared.arrivals = latencies.address, self.arrivals.address
        shared.client, shared.clients = self.clients.ctypes.data, plan.clients
        shared.depth, shared.bytes = plan.depth, plan.message_bytes
        shared.message, shared.served = self.message.ctypes.data, self.order.ctypes.data
        shared.failed_connecting, shared.failed_greeting, shared.errors, shared.faults = (
            row.ctypes.data for row in self.tables
        )
        self.marked = np.zeros(0, np.uint64)
        self.next_turn: asyncio.Handle | None = None  # while it drives
        self.waited_for: Callable[[], bool] = bool  # what until() waits for
        self.waiter: asyncio.Future[None] | None = None
        if not self.library.prepare(self.reference):
            raise OSError("epoll or memory is not to be had")

    @property
    def served(self) -> int:
        return int(self.shared.served_count)

    @property
    def those_served(self) -> np.ndarray:
        """The served clients, as an array of CLIENT."""
        return self.clients[self.order[: self.served]]

    # Turns

    def drive(self) -> None:
        """Serves the clients from now on, again and again."""
        loop = asyncio.get_running_loop()

        def turn() -> None:
            self.library.turn(self.reference, ctypes.c_int64(clock() + TURN_NS))
            self.tell()  # before the next turn, which may be long
            self.next_turn = loop.call_soon(turn)

        if self.next_turn is None:
            loop.remove_reader(self.shared.poller)
            self.next_turn = loop.call_soon(turn)

    def rest(self) -> None:
        """Serves the clients only when something has come for one."""
        if self.next_turn is not None:
            self.next_turn.cancel()
            self.next_turn = None

        def glance() -> None:
            self.library.turn(self.reference, ctypes.c_int64(0))

        asyncio.get_running_loop().add_reader(self.shared.poller, glance)

    # Connecting

    async def connect_all(self, at_once: int) -> None:
        plan, shared = self.plan, self.shared
        try:
            self.addresses = packed(
                [unix(plan.path)]
                if plan.path
                else [internet(host, plan.port) for host in await addresses(plan)]
            )
            self.sources = packed([internet(source, 0) for source in plan.sources])
        except OSError as error:
            self.failed[describe(error)] += plan.clients
            return
        shared.addresses, shared.address_end = self.addresses.ctypes.data, len(self.addresses)
        shared.sources, shared.source_count = self.sources.ctypes.data, len(self.sources)
        shared.at_once = at_once
        self.drive()
        await self.until(
            lambda: shared.next_client == plan.clients and not shared.in_flight,
            plan.connect_timeout_s,
        )
        self.library.end_connecting(self.reference)
        self.rest()
        self.connected, self.connecting_ns = shared.connected, shared.connecting_ns
        self.failed = self.failures()
        if missing := plan.clients - self.served - self.failed.total():
            self.failed[f"no first echo within {plan.connect_timeout_s:g} s"] += missing

    async def until(self, done: Callable[[], bool], timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.waited_for, self.waiter = done, loop.create_future()
        timer = loop.call_later(timeout_s, self.tell, True)
        self.tell()
        await self.waiter
        timer.cancel()

    def tell(self, late: bool = False) -> None:
        """Ends the wait of until() when what it waits for is the case, or it is too late."""
        waiter = self.waiter
        if waiter is not None and not waiter.done() and (late or self.waited_for()):
            waiter.set_result(None)

    def failures(self) -> Counter[str]:
        """Failures to connect or to have a first echo since the last call."""
        connecting, greeting = self.tables[0], self.tables[1]
        found = Counter[str]()
        for reason in np.flatnonzero(connecting).tolist():
            found[os.strerror(reason)] += int(connecting[reason])
        for reason in np.flatnonzero(greeting).tolist():
            found[reason_of(reason)] += int(greeting[reason])
        self.tables[:2] = 0
        return found

    # What all have said and heard

    def mark(self) -> None:
        self.marked = self.those_served["number"]

    def counts(self) -> Sequence[int]:
        counts: list[int] = (self.those_served["number"] - self.marked).tolist()
        return counts

    def all_answered(self) -> bool:
        served = self.those_served
        return bool(np.all((served["number"] > self.marked) | (served["state"] == ENDED)))

    def outstanding(self) -> int:
        return int(self.clients["on_the_way"].sum())

    def waiting_since_ns(self) -> np.ndarray:
        left = copied(self.shared.unanswered_values, self.shared.unanswered_count)
        if self.plan.kind == "open":
            return left
        if self.plan.depth > 1:
            return np.concatenate([left, self.nodes()[:, 1]])
        return np.concatenate([left, self.clients["sent_ns"][self.clients["on_the_way"] > 0]])

    def nodes(self) -> np.ndarray:
        """When each message was intended to leave and when it left, of those without an echo."""
        found = np.zeros((self.library.copy_nodes(self.reference, None), 2), np.int64)
        self.library.copy_nodes(self.reference, ctypes.c_void_p(found.ctypes.data))
        return found

    def faults(self) -> Counter[str]:
        found = self.tables[3]
        return +Counter({name: int(found[at - min(FAULTS)]) for at, name in FAULTS.items()})

    def errors(self) -> Counter[str]:
        found = self.tables[2]
        of_connections = {
            reason_of(reason): int(found[reason]) for reason in np.flatnonzero(found).tolist()
        }
        return Counter(of_connections) + self.meter.errors

    def retried(self) -> int:
        return int(self.library.count_sent_again(self.reference))

    # What they do

    def say_all(self) -> None:
        self.library.say_all(self.reference)
        self.drive()

    async def greet_again(self) -> None:
        shared = self.shared
        shared.at_once = self.plan.connecting
        self.drive()
        self.library.begin_greeting_again(self.reference)
        await self.until(lambda: not shared.again_in_flight, self.plan.drain_s)

    def begin_pacing(self, schedule: Schedule, warmup_ns: int) -> int:
        began_ns = self.pacer.begin((), schedule, warmup_ns)
        self.drive()
        return began_ns

    def in_slice(self) -> tuple[Sequence[int], Sequence[int]]:
        served = self.those_served
        return served["sent_in_slice"].tolist(), served["echoed_in_slice"].tolist()

    def turnover(self, at_a_time: int) -> Turnover:
        return NativeReplacing(self, at_a_time)


class NativePacer(Pacer):
    """The schedule of an open loop, a chunk at a time for the C side."""

    next_ns: Any = Field()
    slice_ns: Any = Field()
    outstanding: Any = Field()
    limit: Any = Field()
    early_sent: Any = Field()
    early_echoed: Any = Field()

    def __init__(self, crowd: NativeCrowd, plan: Plan) -> None:
        self.crowd, self.shared = crowd, crowd.shared
        super().__init__(crowd.meter, plan.most_outstanding, plan.message_bytes)
        self.from_send, self.least, self.lag, self.read_lag = (NativeLatencies() for _ in range(4))
        self.histograms = []  # the C side tallies
        shared = self.shared
        shared.from_send, shared.least = self.from_send.address, self.least.address
        shared.lag, shared.read_lag = self.lag.address, self.read_lag.address
        self.callbacks = [CALL(each) for each in (self.more, self.chore, self.stop)]
        shared.more, shared.chore, shared.give_up = map(address_of, self.callbacks)
        self.following: tuple[np.ndarray, np.ndarray] | None = None

    def begin(self, clients: Sequence[Paced], schedule: Schedule, warmup_ns: int) -> int:
        self.schedule = schedule
        first = schedule.chunk(CHUNK)
        self.zero_ns = clock()
        self.slice_ns = self.zero_ns + warmup_ns
        self.install(first)
        self.shared.pacing = 1
        self.crowd.library.begin_pacing(self.crowd.reference)
        return int(self.slice_ns)

    def install(self, chunk: tuple[np.ndarray, np.ndarray]) -> None:
        """Gives the C side a chunk of the schedule."""
        shared = self.shared
        self.times_ns, self.who = chunk[0] + self.zero_ns, np.ascontiguousarray(chunk[1])
        shared.due_ns, shared.due_who = self.times_ns.ctypes.data, self.who.ctypes.data
        shared.due_at, shared.due_count = 0, len(self.times_ns)
        shared.chores = not self.schedule.ended

    def more(self) -> None:
        """The chunk has been sent: the next one."""
        following, self.following = self.following, None
        self.install(self.schedule.chunk(CHUNK) if following is None else following)

    def chore(self) -> bool:
        self.following = self.schedule.chunk(CHUNK)
        self.shared.chores = 0
        return True

    def left_on_their_way(self) -> np.ndarray:
        return self.crowd.nodes()

    def left_unsent(self) -> np.ndarray:
        return copied(self.shared.unsent_values, self.shared.unsent_count)

    def left_to_send(self) -> np.ndarray:
        late = [np.array([self.next_ns]), self.times_ns[self.shared.due_at :]]
        late += [self.following[0] + self.zero_ns] if self.following else []
        return np.concatenate(late)

    def forget(self) -> None:
        self.following = None
        self.shared.due_at = self.shared.due_count = self.shared.chores = 0


class NativeReplacing(Turnover):
    """The C side replaces clients until it is told to begin no more."""

    within: Any = Field()
    retried: Any = Field()

    def __init__(self, crowd: NativeCrowd, at_a_time: int) -> None:
        self.crowd, self.shared, self.at_a_time = crowd, crowd.shared, at_a_time
        self.meter = NativeMeter(crowd.shared, crowd.arrivals)
        self.there = crowd.served
        shared = self.shared
        self.queue = np.zeros(crowd.plan.clients, np.int64)
        self.queue[: self.there] = crowd.order[: self.there]
        self.pausing = np.zeros(crowd.plan.clients, np.int64)
        shared.queue, shared.queue_count = self.queue.ctypes.data, self.there
        shared.pausing = self.pausing.ctypes.data

    def begin(self) -> None:
        self.shared.churning = 1
        self.crowd.library.begin_replacing(self.crowd.reference, ctypes.c_int64(self.at_a_time))
        self.crowd.drive()

    def end(self) -> None:
        self.shared.churning = 2

    async def finish(self, timeout_s: float) -> None:
        crowd, shared = self.crowd, self.shared
        await crowd.until(lambda: shared.queue_count == self.there, timeout_s)
        states = crowd.clients["state"]
        self.lost = int(np.isin(states, (CONNECTING, GREETING, PAUSING)).sum())
        if stay := int((states == LEAVING).sum()):
            crowd.meter.errors["not closed by the server"] += stay
        crowd.library.end_connecting(crowd.reference)
        crowd.meter.errors += crowd.failures()
