"""The two Dask actors that run on the hosts: one for the server, one for the clients.

The kernel kills a started process when the *thread* that started it ends. All methods of an
actor run in one thread, which a Dask worker keeps for actors as long as it lives. So the
processes that they start are not killed too early, and end with the worker even when it is
killed. __init__ runs in the worker's thread pool, whose threads come and go, so it must not
start anything.

The command may vanish. So an actor ends its processes when it has not been called for a while.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ... import launch
from ...launch import keeper
from ...launch.watch import Surroundings, available_bytes
from ...model import Noise, Server, ServerUse
from .. import drive, events, merge, workers
from ..executor import out_of
from ..local import LocalSite, stop_for_memory
from ..worker_plans import WorkerPlan

LEASE_S = 30.0
# Dask runs these up to a hundred times a second, for its statistics and against running out of
# memory, for which trials are stopped anyway. They would wake the cores that are measured.
CHATTER = ("profile", "profile-cycle", "tick", "ticks", "monitor", "memory_monitor")


def stop_dask_housekeeping(dask_worker: Any = None, dask_scheduler: Any = None) -> None:
    """Stops CHATTER on a worker, a nanny or the scheduler; Dask passes the one it runs on."""
    for name in CHATTER:
        if (each := (dask_worker or dask_scheduler).periodic_callbacks.get(name)) is not None:
            each.stop()


class _Lease:
    """Calls `end` when it has not been renewed for lease_s."""

    def __init__(self, lease_s: float, end: Callable[[], None]) -> None:
        self.lease_s = lease_s
        self.end = end
        self.over = threading.Event()
        self.renew()
        threading.Thread(target=self._watch, daemon=True).start()

    def renew(self) -> None:
        self.renewed = time.monotonic()

    def _watch(self) -> None:
        while not self.over.wait(self.lease_s / 10):
            if time.monotonic() - self.renewed > self.lease_s:
                self.over.set()
                self.end()


def _prepare() -> None:
    """Gives servers and client workers the same environment as without Dask.

    A Dask worker's nanny sets variables, such as how malloc returns memory, which the processes
    started here would otherwise inherit. The limit of descriptors is raised, too.
    """
    import dask

    for name in dask.config.get("distributed.nanny.pre-spawn-environ", {}):
        os.environ.pop(name, None)
    launch.raise_descriptor_limit()


class _Actor:
    """Runs methods on this host for the command."""

    def do(self, method: str, *args: Any) -> Any:
        """Calls the method. An OSError becomes ClientFailed, so that running out of a resource is
        reported as such, and not mistaken for a lost host.
        """
        try:
            return getattr(self, method)(*args)
        except OSError as error:
            raise events.ClientFailed(out_of(error)) from None


class ServerHost(_Actor):
    """A server under test on this host. stop() ends it and returns its log."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self.site: LocalSite | None = None

    def start(
        self,
        server: Server,
        cpus: tuple[int, ...],
        memory_share: float,
        bind: str,
        queues: bool,
    ) -> tuple[str, int] | str:
        """Starts the server and returns its address. Raises launch.NotServing.

        queues: whether to read its accept queue repeatedly.
        """
        _prepare()
        try:
            self.folder = tempfile.TemporaryDirectory(dir=keeper.keeper().folder)
            self.log = Path(self.folder.name) / "log"
            self.site = LocalSite(server, self.log, cpus, memory_share, bind)
        except ValueError as error:
            raise launch.NotServing(str(error)) from None
        self.lease = _Lease(self.lease_s, self._end)
        if queues:
            threading.Thread(target=self._look_at_queue, args=(self.site,), daemon=True).start()
        return self.site.address

    def authority(self) -> str:
        """Who signed the certificate of a server that speaks TLS, PEM; else ""."""
        return self._held().authority

    def _look_at_queue(self, site: LocalSite) -> None:
        """Reads the accept queue here, because it may fill and empty faster than a call takes."""
        while not self.lease.over.wait(drive.QUEUE_LOOK_S):
            with suppress(OSError):  # the server is being stopped
                site.look_at_queue()

    def look(self) -> None:
        """Raises ClientFailed when the trial must end."""
        self._held().look()

    def connected(self, seen: merge.Connected) -> None:
        self._held().connected(seen)

    def begin(self) -> None:
        self._held().begin()

    def finish(self) -> None:
        """Reports that the slice has ended."""
        self._held().end()

    def loaded(self) -> None:
        self._held().loaded()

    def use(self, duration_s: float | None) -> ServerUse:
        return self._held().use(duration_s)

    def busiest(self, cpus: Sequence[int]) -> float:
        return self._held().busiest(cpus)

    def noise(self) -> Noise:
        return self._held().noise()

    def stop(self) -> bytes:
        """Ends the server and returns what it wrote to standard error."""
        if self.site is not None:
            self.lease.over.set()
            self._end()
        with suppress(OSError):
            return self.log.read_bytes()
        return b""

    def _held(self) -> LocalSite:
        assert self.site is not None
        self.lease.renew()
        return self.site

    def _end(self) -> None:
        if self.site is not None:
            self.site.stop()


class ClientHost(_Actor):
    """The client workers of one trial on this host."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self.crew: workers.LocalCrew | None = None
        self.surroundings: Surroundings | None = None

    def start(
        self, plans: Sequence[WorkerPlan], cpus: tuple[int, ...], memory_share: float
    ) -> None:
        """Starts one worker for each plan. Raises ClientFailed."""
        _prepare()
        self.memory_share = memory_share
        self.free_bytes = available_bytes()
        self.crew = workers.LocalCrew(plans, cpus)
        self.lease = _Lease(self.lease_s, self.end)

    def said(self, timeout_s: float) -> list[tuple[int, events.Event]]:
        """(worker's number, event) of what comes within timeout_s. Raises ClientFailed."""
        found = self._held().said(timeout_s)
        stop_for_memory(self.free_bytes, self.memory_share)
        return found

    def ready(self) -> None:
        """All workers are at the barrier: starts to watch the host for other load."""
        self._held()
        self.surroundings = Surroundings()

    def go(self) -> None:
        self._held().go()

    def begin_slice(self, seconds: float) -> None:
        self._held().begin_slice(seconds)

    def noise(self) -> Noise:
        self._held()
        return self.surroundings.noise() if self.surroundings else Noise()

    def end(self) -> None:
        if self.crew is not None:
            self.crew.stack.close()
            self.lease.over.set()

    def _held(self) -> workers.LocalCrew:
        assert self.crew is not None
        self.lease.renew()
        return self.crew
