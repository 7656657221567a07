"""The clients of one worker, whatever drives them: what the kinds of load ask of them.

Two crowds do the same. AsyncioCrowd (asyncio_crowd.py) is the reference: protocols over uvloop.
NativeCrowd (native_crowd.py) has its inner loops in C, and costs less. Both count a connection
without a first echo once, under `failed`; what goes wrong after the first echo, under `errors`.
"""

import asyncio
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from conversations import Meter
from latencies import Latencies
from pacing import Pacer
from plan import Plan
from schedule import Schedule


class Turnover(ABC):
    """Clients that are replaced, a few at a time, until end() is called."""

    meter: Meter  # of newcomers: an echo is a newcomer's first
    within = False  # whether the slice is on, so that `retried` counts
    retried = 0  # newcomers of the slice for which the kernel sent something again
    lost = 0  # newcomers that were never answered

    @abstractmethod
    def begin(self) -> None:
        """Begins to replace."""

    @abstractmethod
    def end(self) -> None:
        """Begins no further replacement."""

    @abstractmethod
    async def finish(self, timeout_s: float) -> None:
        """Waits for the replacements that have begun, and gives up those that are late."""


class Crowd(ABC):
    """All connections of a worker."""

    loops: str  # what drives them: asyncio or C
    meter: Meter
    arrivals: Latencies  # from a client's connect call to its first echo
    pacer: Pacer

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.failed = Counter[str]()  # reason → connections without a first echo
        self.connected = 0
        self.connecting_ns = 0  # when the last client began to connect
        self.negotiated = ""  # over TLS: protocol and cipher of the first client

    @property
    @abstractmethod
    def served(self) -> int:
        """Clients that had their first echo. They are numbered from 0, in that order."""

    @abstractmethod
    async def connect_all(self, at_once: int) -> None:
        """Opens every connection and echoes once on it, at_once at a time."""

    # What all have said and heard

    @abstractmethod
    def mark(self) -> None:
        """From here on counts() counts."""

    @abstractmethod
    def counts(self) -> Sequence[int]:
        """Each served client's echoes since mark()."""

    @abstractmethod
    def all_answered(self) -> bool:
        """Whether every served client whose connection lives had an echo since mark()."""

    @abstractmethod
    def outstanding(self) -> int:
        """Messages whose whole echo has not come, of connections that live."""

    @abstractmethod
    def waiting_since_ns(self) -> np.ndarray:
        """When each message was sent that never had its echo, whether its connection lives or not.

        Not those of the open loop, which the pacer counts.
        """

    @abstractmethod
    def faults(self) -> Mapping[str, int]:
        """misdirected, doubled, altered → how many."""

    @abstractmethod
    def errors(self) -> Mapping[str, int]:
        """What went wrong after the first echo → how often."""

    @abstractmethod
    def retried(self) -> int:
        """Clients for which the kernel had to send anything again."""

    # What they do

    @abstractmethod
    def say_all(self) -> None:
        """Every client of the closed loop says what it may."""

    @abstractmethod
    async def greet_again(self) -> None:
        """Every client echoes once more, `connecting` at a time, within drain_s."""

    @abstractmethod
    def begin_pacing(self, schedule: Schedule, warmup_ns: int) -> int:
        """Open loop: begins to send on a schedule; returns when the slice starts."""

    @abstractmethod
    def in_slice(self) -> tuple[Sequence[int], Sequence[int]]:
        """Open loop: each served client's messages of the slice, and their echoes."""

    @abstractmethod
    def turnover(self, at_a_time: int) -> Turnover:
        """Replaces this many clients at a time."""

    async def drain(self, empty: Callable[[], bool]) -> None:
        """Waits for the echoes that are still on their way, at most the plan's drain_s."""
        await self.until(empty, self.plan.drain_s)

    async def until(self, done: Callable[[], bool], timeout_s: float) -> None:
        """Waits until something is the case, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not done():
            await asyncio.sleep(0.01)


async def addresses(plan: Plan) -> list[str]:
    """The server's addresses, looked up once for all connections. Raises OSError."""
    if plan.path:
        return []
    found = await asyncio.get_running_loop().getaddrinfo(
        plan.host, plan.port, type=socket.SOCK_STREAM
    )
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def describe(error: OSError) -> str:
    """A short name for why a connection failed: the system's text, else the exception's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"no TLS: {error.reason.replace('_', ' ').lower()}"
    return error.strerror or str(error) or type(error).__name__
