"""The clients in C: inner_loops.c, loaded as a shared library, and what decides around it.

Both sides share one struct of 64-bit numbers and addresses. The C side serves the clients for
TURN_NS at a time within one callback of the event loop; so everything else here is the same async
code as with asyncio's clients. It calls back when an alarm is due, for a stretch without an echo
that is worth a note, and for the next chunk of a schedule.
"""

import asyncio
import ctypes
import os
import random
import socket
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter_ns as clock
from typing import Any

import numpy as np
from conversations import NEVER, Meter
from crowd import Crowd, Turnover, addresses, describe
from latencies import COARSE, Latencies, coarse
from pacing import CHUNK, Paced, Pacer
from plan import HEADER_BYTES, Plan, PlanError
from schedule import Schedule

TURN_NS = 20_000_000  # how long the C side goes on before the event loop has a turn
REASONS = 256
CLOSED, FAULTS = 0, {250: "misdirected", 251: "doubled", 252: "altered"}
CONNECTING, GREETING, THERE, LEAVING, PAUSING, ENDED = 1, 2, 3, 4, 5, 6

_FIELDS = [
    "alarm_ns",
    "heard_ns",
    "gap_ns",
    "sending",
    "there",
    "ring",
    "gap",
    "latency",
    "arrivals",
    "from_send",
    "lag",
    "read_lag",
    "client",
    "clients",
    "depth",
    "bytes",
    "message",
    "served",
    "served_count",
    "connected",
    "connecting_ns",
    "failed_connecting",
    "failed_greeting",
    "errors",
    "faults",
    "unanswered_values",
    "unanswered_count",
    "unanswered_room",
    "addresses",
    "sources",
    "address_first",
    "address_end",
    "source_count",
    "source_next",
    "at_once",
    "in_flight",
    "next_client",
    "pacing",
    "next_ns",
    "next_who",
    "slice_ns",
    "looked_ns",
    "outstanding",
    "limit",
    "early_sent",
    "early_echoed",
    "due_ns",
    "due_who",
    "due_at",
    "due_count",
    "chores",
    "more",
    "chore",
    "give_up",
    "unsent_values",
    "unsent_count",
    "unsent_room",
    "churning",
    "within",
    "retried",
    "queue",
    "queue_first",
    "queue_count",
    "pausing",
    "pausing_first",
    "pausing_count",
    "again_next",
    "again_in_flight",
    "leave",
    "poller",
    "node_count",
    "node_room",
    "node_free",
    "nodes",
    "in",
    "out",
]
CLIENT = np.dtype(
    [
        ("fd", "<i4"),
        ("state", "u1"),
        ("again", "u1"),
        ("address", "<u2"),
        ("got", "<u4"),
        ("written", "<u4"),
        ("on_the_way", "<u4"),
        ("backlog", "<u4"),
        ("first", "<u4"),
        ("last", "<u4"),
        ("id", "<u8"),
        ("number", "<u8"),
        ("sent_ns", "<i8"),
        ("sent_in_slice", "<u4"),
        ("echoed_in_slice", "<u4"),
    ]
)


class Shared(ctypes.Structure):
    """struct loops of inner_loops.c: every field is a number or an address of 64 bits."""

    _fields_ = [(name, ctypes.c_int64) for name in _FIELDS]


class _Histogram(ctypes.Structure):
    """struct histogram of inner_loops.c."""

    _fields_ = [
        (name, ctypes.c_int64) for name in ("counts", "row", "count", "ever", "sum", "last")
    ]


class _Field:
    """An attribute that is a field of the struct in `shared`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, _: type | None = None) -> int:
        return int(getattr(owner.shared, self.name))

    def __set__(self, owner: Any, value: int) -> None:
        setattr(owner.shared, self.name, value)


class NativeLatencies(Latencies):
    """Latencies that the C side notes, straight into their buckets."""

    count: Any = _Field("count")
    sum_ns: Any = _Field("sum")

    def __init__(self) -> None:
        self.shared = _Histogram()
        super().__init__()
        self.shared.counts = self._counts.ctypes.data
        self.address = ctypes.addressof(self.shared)

    @property
    def ever(self) -> int:
        return int(self.shared.ever)

    def tally(self) -> int:
        return int(self.shared.count)

    def clear(self) -> None:
        self._counts[:] = 0
        self.count = self.sum_ns = 0

    def begin_intervals(self, width_ns: int) -> None:
        self._width_ns, self._rows = width_ns, []
        self._next_row()

    def _next_row(self) -> None:
        self._rows.append(np.zeros(COARSE, np.uint32))
        self.shared.row = self._rows[-1].ctypes.data

    def next_interval(self, back: int) -> None:
        self._next_row()
        if back:  # the last one has been counted in the interval before
            last = coarse(np.array([self.shared.last]))
            self._rows[-2] -= last
            self._rows[-1] += last

    def end_intervals(self) -> str:
        self.shared.row = 0
        return super().end_intervals()


class NativeMeter(Meter):
    """What the clients share with the course, in the struct."""

    __slots__ = ("_kept", "shared")
    alarm_ns: Any = _Field("alarm_ns")
    heard_ns: Any = _Field("heard_ns")
    gap_ns: Any = _Field("gap_ns")
    sending: Any = _Field("sending")
    there: Any = _Field("there")

    def __init__(self, shared: Shared, latencies: Latencies) -> None:
        self.shared = shared
        self._kept: dict[str, Any] = {}
        super().__init__(latencies)

    def _set(self, name: str, kept: Any) -> None:
        self._kept[name] = kept  # the C side has only its address
        setattr(self.shared, name, _address_of(kept))

    @property
    def ring(self) -> Any:
        return self._kept["ring"]

    @ring.setter
    def ring(self, called: Callable[..., None]) -> None:
        self._set("ring", _RING(called))

    @property
    def gap(self) -> Any:
        return self._kept["gap"]

    @gap.setter
    def gap(self, called: Callable[[int], None]) -> None:
        self._set("gap", _GAP(called))


_RING = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_GAP = ctypes.CFUNCTYPE(None, ctypes.c_int64)
_CALL = ctypes.CFUNCTYPE(None)


def _address_of(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


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
        self.other_errors = Counter[str]()
        self.marked = np.zeros(0, np.uint64)
        self.driving = False
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
        loop.remove_reader(self.shared.poller)

        def turn() -> None:
            self.library.turn(self.reference, ctypes.c_int64(clock() + TURN_NS))
            if self.driving:
                loop.call_soon(turn)

        if not self.driving:
            self.driving = True
            loop.call_soon(turn)

    def rest(self) -> None:
        """Serves the clients only when something has come for one."""
        self.driving = False

        def glance() -> None:
            self.library.turn(self.reference, ctypes.c_int64(0))

        asyncio.get_running_loop().add_reader(self.shared.poller, glance)

    # Connecting

    async def connect_all(self, at_once: int) -> None:
        plan, shared = self.plan, self.shared
        try:
            self.addresses = _packed(
                [_unix(plan.path)]
                if plan.path
                else [_internet(host, plan.port) for host in await addresses(plan)]
            )
            self.sources = _packed([_internet(source, 0) for source in plan.sources])
        except OSError as error:
            self.failed[describe(error)] += plan.clients
            return
        shared.addresses, shared.address_end = self.addresses.ctypes.data, len(self.addresses)
        shared.sources, shared.source_count = self.sources.ctypes.data, len(self.sources)
        shared.at_once = at_once
        self.drive()
        done = lambda: shared.next_client == plan.clients and not shared.in_flight  # noqa: E731
        await self.until(done, plan.connect_timeout_s)
        self.library.end_connecting(self.reference)
        self.rest()
        self.connected, self.connecting_ns = shared.connected, shared.connecting_ns
        self.failed = self.failures()
        if missing := plan.clients - self.served - self.failed.total():
            self.failed[f"no first echo within {plan.connect_timeout_s:g} s"] += missing

    async def until(self, done: Callable[[], bool], timeout_s: float) -> None:
        """Waits until something is the case, or the time is over."""
        deadline_ns = clock() + int(timeout_s * 1e9)
        while not done() and clock() < deadline_ns:
            await asyncio.sleep(0.001)

    def failures(self) -> Counter[str]:
        """Failures to connect or to have a first echo since the last call."""
        connecting, greeting = self.tables[0], self.tables[1]
        found = Counter[str]()
        for reason in np.flatnonzero(connecting).tolist():
            found[os.strerror(reason)] += int(connecting[reason])
        for reason in np.flatnonzero(greeting).tolist():
            found[_reason(reason)] += int(greeting[reason])
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
        left = _copied(self.shared.unanswered_values, self.shared.unanswered_count)
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
            _reason(reason): int(found[reason]) for reason in np.flatnonzero(found).tolist()
        }
        return Counter(of_connections) + self.other_errors

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

    next_ns: Any = _Field("next_ns")
    slice_ns: Any = _Field("slice_ns")
    outstanding: Any = _Field("outstanding")
    limit: Any = _Field("limit")
    early_sent: Any = _Field("early_sent")
    early_echoed: Any = _Field("early_echoed")

    def __init__(self, crowd: NativeCrowd, plan: Plan) -> None:
        self.crowd, self.shared = crowd, crowd.shared
        super().__init__(crowd.meter, plan.most_outstanding, plan.message_bytes)
        self.from_send, self.lag, self.read_lag = (NativeLatencies() for _ in range(3))
        self.histograms = []  # the C side tallies
        shared = self.shared
        shared.from_send, shared.lag = self.from_send.address, self.lag.address
        shared.read_lag = self.read_lag.address
        self.callbacks = [_CALL(each) for each in (self.more, self.chore_, self.stop)]
        shared.more, shared.chore, shared.give_up = map(_address_of, self.callbacks)
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

    def chore_(self) -> None:
        """Makes the next chunk ahead of time."""
        self.following = self.schedule.chunk(CHUNK)
        self.shared.chores = 0

    def stop(self) -> None:
        self.next_ns = NEVER
        self.schedule.ended = True
        self.following = None
        self.shared.due_at = self.shared.due_count = self.shared.chores = 0
        message = f"stopped: more than {self.limit} messages outstanding"
        self.crowd.other_errors[message] += 1
        self.stopped = True
        self.on_stop(clock())

    def close(self) -> int:
        now_ns, shared = clock(), self.shared
        nodes = self.crowd.nodes()
        nodes = nodes[nodes[:, 0] >= self.slice_ns]
        self.latency.add(now_ns - nodes[:, 0])
        self.from_send.add(now_ns - nodes[:, 1])
        unsent_ns = _copied(shared.unsent_values, shared.unsent_count)
        self.latency.add(now_ns - unsent_ns)
        unsent = int(unsent_ns.size)
        if not self.finished:
            late = [np.array([self.next_ns]), self.times_ns[shared.due_at :]]
            late += [self.following[0] + self.zero_ns] if self.following else []
            times_ns = np.concatenate(late)
            self.next_ns = NEVER
            while times_ns.size:
                times_ns = times_ns[times_ns >= self.slice_ns]
                unsent += int(times_ns.size)
                self.latency.add(now_ns - times_ns)
                times_ns = self.schedule.chunk(65_536)[0] + self.zero_ns
        return unsent


class NativeReplacing(Turnover):
    """The C side replaces clients until it is told to begin no more."""

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

    within: Any = _Field("within")
    retried: Any = _Field("retried")

    def begin(self) -> None:
        self.shared.churning = 1
        self.library_begin()
        self.crowd.drive()

    def library_begin(self) -> None:
        self.crowd.library.begin_replacing(self.crowd.reference, ctypes.c_int64(self.at_a_time))

    def end(self) -> None:
        self.shared.churning = 2

    async def finish(self, timeout_s: float) -> None:
        crowd, shared = self.crowd, self.shared
        await crowd.until(lambda: shared.queue_count == self.there, timeout_s)
        states = crowd.clients["state"]
        self.lost = int(np.isin(states, (CONNECTING, GREETING, PAUSING)).sum())
        if stay := int((states == LEAVING).sum()):
            crowd.other_errors["not closed by the server"] += stay
        crowd.library.end_connecting(crowd.reference)
        crowd.other_errors += crowd.failures()


def _reason(reason: int) -> str:
    """Why a connection ended, in the words of asyncio's clients."""
    if reason == CLOSED:
        return "closed by the server"
    if reason in FAULTS:
        return f"{FAULTS[reason]} echo"
    return type(OSError(reason, "")).__name__


def _copied(address: int, count: int) -> np.ndarray:
    """A copy of this many numbers of 64 bits."""
    if not count:
        return np.zeros(0, np.int64)
    return np.array(array("q", ctypes.string_at(address, 8 * count)), np.int64)


def _internet(host: str, port: int) -> bytes:
    """A socket address of IPv4 or IPv6 (struct sockaddr_in, sockaddr_in6)."""
    if ":" in host:
        bare, _, scope = host.partition("%")
        packed = socket.inet_pton(socket.AF_INET6, bare)
        index = socket.if_nametoindex(scope) if scope else 0
        return (
            struct.pack("=H", socket.AF_INET6)
            + struct.pack("!HI", port, 0)
            + packed
            + struct.pack("=I", index)
        )
    return (
        struct.pack("=H", socket.AF_INET)
        + struct.pack("!H", port)
        + socket.inet_pton(socket.AF_INET, host)
        + bytes(8)
    )


def _unix(path: str) -> bytes:
    """A socket address of a UNIX socket (struct sockaddr_un). Raises OSError."""
    name = os.fsencode(path)
    if len(name) > 107:
        raise OSError("AF_UNIX path too long")
    return struct.pack("=H", socket.AF_UNIX) + name + b"\0"


def _packed(found: Sequence[bytes]) -> np.ndarray:
    """struct address of inner_loops.c for each of them."""
    records = [struct.pack("=I4x", len(each)) + each.ljust(128, b"\0") for each in found]
    return np.frombuffer(bytearray(b"".join(records)), "V136")
