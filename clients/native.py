"""What Python and inner_loops.c share: one struct, the clients, their latencies and addresses.

The struct has numbers and addresses of 64 bits only, so that a list of names describes it.
"""

import ctypes
import os
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from conversations import Meter
from latencies import COARSE, Latencies, coarse

REASONS = 256
CLOSED, FAULTS = 0, {250: "misdirected", 251: "doubled", 252: "altered"}
CONNECTING, GREETING, THERE, LEAVING, PAUSING, ENDED = 1, 2, 3, 4, 5, 6

FIELDS = [
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
    "least",
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
    "before_ns",
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

    _fields_ = [(name, ctypes.c_int64) for name in FIELDS]


class _Histogram(ctypes.Structure):
    """struct histogram of inner_loops.c."""

    _fields_ = [
        (name, ctypes.c_int64) for name in ("counts", "row", "count", "ever", "sum_ns", "last_ns")
    ]


class Field:
    """An attribute that is the field of that name of the struct in `shared`."""

    def __set_name__(self, _: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, _: type | None = None) -> int:
        return int(getattr(owner.shared, self.name))

    def __set__(self, owner: Any, value: int) -> None:
        setattr(owner.shared, self.name, value)


class NativeLatencies(Latencies):
    """Latencies that the C side notes, straight into their buckets."""

    count: Any = Field()
    sum_ns: Any = Field()

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
            last = coarse(np.array([self.shared.last_ns]))
            self._rows[-2] -= last
            self._rows[-1] += last

    def end_intervals(self) -> str:
        self.shared.row = 0
        return super().end_intervals()


class NativeMeter(Meter):
    """What the clients share with the course, in the struct."""

    __slots__ = ("_kept", "shared")
    alarm_ns: Any = Field()
    heard_ns: Any = Field()
    gap_ns: Any = Field()
    sending: Any = Field()
    there: Any = Field()

    def __init__(self, shared: Shared, latencies: Latencies) -> None:
        self.shared = shared
        self._kept: dict[str, Any] = {}
        super().__init__(latencies)

    def _set(self, name: str, kept: Any) -> None:
        self._kept[name] = kept  # the C side has only its address
        setattr(self.shared, name, address_of(kept))

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
CALL = ctypes.CFUNCTYPE(None)


def address_of(function: Any) -> int:
    """Where a callback is, for the C side; it must be kept as long as that may call it."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def reason_of(reason: int) -> str:
    """Why a connection ended, in the words of asyncio's clients."""
    if reason == CLOSED:
        return "closed by the server"
    if reason in FAULTS:
        return f"{FAULTS[reason]} echo"
    return type(OSError(reason, "")).__name__


def copied(address: int, count: int) -> np.ndarray:
    """A copy of this many numbers of 64 bits."""
    if not count:
        return np.zeros(0, np.int64)
    return np.array(array("q", ctypes.string_at(address, 8 * count)), np.int64)


def internet(host: str, port: int) -> bytes:
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


def unix(path: str) -> bytes:
    """A socket address of a UNIX socket (struct sockaddr_un). Raises OSError."""
    name = os.fsencode(path)
    if len(name) > 107:
        raise OSError("AF_UNIX path too long")
    return struct.pack("=H", socket.AF_UNIX) + name + b"\0"


def packed(found: Sequence[bytes]) -> np.ndarray:
    """struct address of inner_loops.c for each of them."""
    records = [struct.pack("=I4x", len(each)) + each.ljust(128, b"\0") for each in found]
    return np.frombuffer(bytearray(b"".join(records)), "V136")
