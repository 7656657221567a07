"""A trial on other machines: the server on its host, the client workers on theirs.

Clocks of different machines are never compared. Each client times its own round trips. The
workers of all hosts wait at the barrier, and then the command tells all hosts to go at the same
time. A host begins between the sending of this call and the answer to it, so all hosts begin
between the first sending and the last answer. This time is an upper bound of the start spread.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from ... import launch
from ...model import Host, Noise, Server, ServerUse
from .. import events, executor, merge
from ..worker_plans import WorkerPlan
from .facts import LabelledHost
from .share import Seat

ASK_S = 1.0  # how often hosts are called during a trial: each call takes a millisecond or two
ASK_AT_BARRIER_S = 0.2  # the same before the barrier, where others may wait this long
ANSWER_S = 10.0
SLOW_S = 30.0  # for slow methods: a server has ten seconds to start serving
_SLOW = {"start", "connected", "loaded", "stop", "end"}


def brief(error: BaseException) -> str:
    """The first line of an error's message, or its class when there is no message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class Remote:
    """An actor on a host, which is called by one method at a time."""

    def __init__(
        self,
        host: LabelledHost,
        make: Callable[[], Any],
        vanished: Callable[[LabelledHost, BaseException], events.ClientFailed],
    ) -> None:
        """make: creates the actor. vanished: returns the error for an unanswered call, or
        raises Lost.
        """
        self.host = host
        self.vanished = vanished
        self.actor = self._answer(make)

    def ask(self, method: str, *args: Any) -> Any:
        """The method's result. Raises what it raises; without an answer, ClientFailed or Lost."""
        limit_s = SLOW_S if method in _SLOW else ANSWER_S
        return self._answer(lambda: self.actor.do(method, *args).result(timeout=limit_s))

    def _answer(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except launch.NotServing:
            raise
        except events.ClientFailed as error:
            raise events.ClientFailed(f"on {self.host.name}: {error}") from None
        except (OSError, RuntimeError, asyncio.CancelledError) as error:
            raise self.vanished(self.host, error) from None
        except Exception as error:
            raise events.ClientFailed(
                f"on {self.host.name}: {type(error).__name__}: {brief(error)}"
            ) from None


class RemoteSite:
    """A server under test on its host."""

    def __init__(self, remote: Remote, log: Path, server: Server, *start: Any) -> None:
        self.remote = remote
        self.log = log
        self.host = remote.host.name
        self.address: tuple[str, int] | str = remote.ask("start", server, *start)
        self.authority: str = remote.ask("authority") if server.tls else ""
        self.barrier: merge.Connected | None = None

    def look(self) -> None:
        self.remote.ask("look")

    def look_at_queue(self) -> None:
        """Does nothing: the host itself reads the queue, which changes faster than a call takes."""

    def connected(self, seen: merge.Connected) -> None:
        self.barrier = seen
        self.remote.ask("connected", seen)

    def begin(self) -> None:
        self.remote.ask("begin")

    def end(self) -> None:
        self.remote.ask("finish")

    def loaded(self) -> None:
        self.remote.ask("loaded")

    def use(self, duration_s: float | None) -> ServerUse:
        try:
            used: ServerUse = self.remote.ask("use", duration_s)
        except events.ClientFailed:
            return ServerUse()  # the host no longer knows
        return used

    def busiest(self, cpus: Sequence[int]) -> float:
        if not cpus:
            return 0.0  # the clients are on other hosts
        share: float = self.remote.ask("busiest", cpus)
        return share

    def noise(self) -> Noise:
        seen: Noise = self.remote.ask("noise")
        return seen

    def stop(self) -> None:
        with suppress(events.ClientFailed, executor.Lost, OSError):
            self.log.write_bytes(self.remote.ask("stop"))


class RemoteCrew:
    """The client workers of a trial on all hosts, for use in a with statement."""

    start_spread_s: float | None = None

    def __init__(
        self,
        remotes: Sequence[Remote],
        seats: Sequence[Seat],
        plans: Sequence[WorkerPlan],
        memory_share: float,
    ) -> None:
        self.remotes = remotes
        self.seats = seats
        self.plans = plans
        self.cores: Sequence[events.Core] = [
            (seat.host.name, seat.cores[index % len(seat.cores)] if seat.cores else index)
            for seat in seats
            for index in range(len(seat.shares))
        ]
        ends = [sum(len(seat.shares) for seat in seats[: n + 1]) for n in range(len(seats))]
        self.parts = [
            slice(end - len(seat.shares), end) for seat, end in zip(seats, ends, strict=True)
        ]
        self.pool = ThreadPoolExecutor(len(seats), thread_name_prefix="c10k-hosts")
        self.listening: dict[int, Future[list[tuple[int, events.Event]]]] = {}
        self.heard: list[tuple[int, events.Event]] = []
        self.results = [0] * len(seats)  # how many each host has sent
        self.memory_share = memory_share
        self.ask_s = ASK_AT_BARRIER_S

    def __enter__(self) -> "RemoteCrew":
        try:
            self._all(
                "start",
                [
                    (self.plans[part], seat.cores, self.memory_share)
                    for part, seat in zip(self.parts, self.seats, strict=True)
                ],
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(events.ClientFailed, executor.Lost):
            self._all("end")
        self.pool.shutdown(wait=False, cancel_futures=True)

    def said(self, timeout_s: float) -> list[tuple[int, events.Event]]:
        """(worker's number, event) of all hosts, each of which is asked until its results came."""
        for number, remote in enumerate(self.remotes):
            if number not in self.listening and self.results[number] < len(
                self.seats[number].shares
            ):
                self.listening[number] = self.pool.submit(remote.ask, "said", self.ask_s)
        wait(self.listening.values(), timeout_s, FIRST_COMPLETED)
        return self._collect()

    def go(self) -> None:
        """Tells all hosts to begin at the same time, when none is busy with another call."""
        self.settle()
        self._all("ready")
        self.ask_s = ASK_S
        times = self._all("go")
        self.start_spread_s = max(end for _, end, _ in times) - min(begin for begin, _, _ in times)

    def settle(self) -> None:
        """Waits until no host is busy: while it waits for its workers, it takes no other call."""
        wait(self.listening.values())
        self.heard += self._collect()

    def begin_slice(self, seconds: float) -> None:
        """Tells all hosts at the same time how long the slice is."""
        self._all("begin_slice", [(seconds,)] * len(self.remotes))

    def hosts(self, results: Sequence[events.WorkerResult]) -> tuple[Host, ...]:
        """Each client host, with its noise and with what its workers measured."""
        noises = [noise for _, _, noise in self._all("noise")]
        found = []
        for seat, part, noise in zip(self.seats, self.parts, noises, strict=True):
            seen = merge.merge(results[part], self.cores[part], self.plans[0].depth)
            found.append(
                Host(
                    name=seat.host.name,
                    role="client",
                    clients=sum(seat.shares),
                    workers=len(seat.shares),
                    cpu_share=seen.cpu_share,
                    lag_p99_us=seen.lag_p99_us,
                    noise=noise,
                )
            )
        return tuple(found)

    def _collect(self) -> list[tuple[int, events.Event]]:
        found, self.heard = self.heard, []
        for number, future in list(self.listening.items()):
            if future.done():
                del self.listening[number]
                first = self.parts[number].start
                said = future.result()
                found += [(first + index, event) for index, event in said]
                self.results[number] += sum(
                    isinstance(event, events.WorkerResult) for _, event in said
                )
        return found

    def _all(
        self, method: str, arguments: Sequence[tuple[Any, ...]] = ()
    ) -> list[tuple[float, float, Any]]:
        """Calls all hosts at the same time; returns (called at, answered at, answer) of each."""

        def timed(remote: Remote, given: tuple[Any, ...]) -> tuple[float, float, Any]:
            began = time.monotonic()
            said = remote.ask(method, *given)
            return began, time.monotonic(), said

        given = arguments or [()] * len(self.remotes)
        asked = [
            self.pool.submit(timed, remote, each)
            for remote, each in zip(self.remotes, given, strict=True)
        ]
        wait(asked)
        return [each.result() for each in asked]
