"""The command's side: finds the labelled hosts of a scheduler and runs trials on them.

No clock is compared between machines. Each client times its own round trips; the workers of
all hosts are held at the barrier, and the command then tells every host to go at once. A
host began somewhere between the sending of its word and the answer to it, so all began
between the first sending and the last answer: that is the spread, an upper bound.

Only the scheduler need be reachable from here: all words go through it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from .. import drive, launch, machine, session
from ..model import Host, Noise, Plan, ServerUse, Trial
from . import facts, hosts, share
from .facts import ClusterError, Facts, Labelled, Role

CONNECT_S = 10.0
ASK_S = 0.5  # how often hosts are asked during a trial: each word costs a millisecond or two
ANSWER_S = 10.0
SLOW_S = 30.0  # for what takes its time: a server has ten seconds to come to serve
_SLOW = {"start", "connected", "stop", "end"}
SILENT_S = 15.0  # without a heartbeat, of which a host gives several in this time
RETURN_S = 15.0  # for a host that vanished to come back, when there is no other
_ALIVE_S = 5.0


class Seat(Struct, frozen=True):
    """A host and the cores that it gives to a trial; a client's workers, and their clients."""

    host: Labelled
    cores: tuple[int, ...]
    sources: tuple[str, ...] = ()
    shares: tuple[int, ...] = ()  # one a worker


class Placed(Struct, frozen=True):
    """Where a trial runs."""

    server: Seat
    clients: tuple[Seat, ...]

    @property
    def note(self) -> str:
        seats = [("server", self.server), *(("clients", seat) for seat in self.clients)]
        return "; ".join(f"{role} on {_cores(seat)}" for role, seat in seats)


def _cores(seat: Seat) -> str:
    if not seat.cores:
        return f"{seat.host.name}, not pinned"
    plural = "s" * (len(seat.cores) > 1)
    return f"core{plural} {', '.join(map(str, seat.cores))} of {seat.host.name}"


def connect(scheduler: str) -> "Cluster":
    """The hosts of a scheduler, which must agree in what matters. Raises ClusterError."""
    try:
        import distributed
    except ImportError:
        raise ClusterError(
            "--scheduler: Dask is not installed: pip install 'c10k-bench[cluster]'"
        ) from None
    # What Dask logs of hosts and schedulers that are gone is said in one line, by us. Its many
    # loggers have levels of their own; nothing else here logs.
    logging.disable()
    try:
        _ = urlsplit(scheduler).port  # Dask asserts that it is one, after ten seconds
        client = distributed.Client(scheduler, timeout=CONNECT_S, name="c10k")
    except (OSError, ValueError, TypeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"--scheduler {scheduler}: no scheduler answers: {why} (c10k cluster shows how)"
        ) from None
    cluster = Cluster(client, scheduler)
    try:
        cluster.look()
        for role in ("server", "client"):
            if not cluster.having(role):
                raise ClusterError(
                    f"{scheduler}: no worker is labelled {role}; start one with "
                    f'dask worker {scheduler} --resources "{role}=1" (c10k cluster shows how)'
                )
    except session.Lost as error:
        cluster.close()
        raise ClusterError(f"--scheduler {scheduler}: {error}") from None
    except BaseException:
        cluster.close()
        raise
    return cluster


class Cluster:
    """The labelled hosts of a scheduler."""

    def __init__(self, client: Any, scheduler: str) -> None:
        self.client = client
        self.scheduler = scheduler
        self.mine = facts.read()
        self.hosts: list[Labelled] = []
        self.facts: dict[str, Facts] = {}  # of workers, by their addresses within Dask

    # Machines

    def environment(self) -> dict[str, Any]:
        """The server's host's, and beside it every client host's."""
        others = {
            f"{host.name}: {group}": known
            for host in self.clients()
            for group, known in self.facts[host.worker].environment.items()
            if group != "moment"
        }
        return {**self.facts[self.having("server")[0].worker].environment, **others}

    def room(self, planned: Plan, memory_share: float) -> Callable[[Trial], str]:
        """Why a trial does not fit the hosts that were there when last looked."""
        processes = {server.name: server.processes for server in planned.servers}
        searching = planned.workload.search is not None

        def room(trial: Trial) -> str:
            host = self.having("server")[0]
            known = self.facts[host.worker]
            fits = machine.capacity(
                trial.load.clients,
                machine.Limits(
                    descriptors_hard=None if searching else known.limits.descriptors_hard,
                    privileged=known.limits.privileged,
                ),
                processes=processes[trial.server],
                budget_bytes=int(known.free_bytes * memory_share),
            )
            if fits.reason:
                return f"on {host.name} {fits.reason}"
            return share.refusal(trial.load.clients, self._rooms(trial, memory_share))

        return room

    def executor(self, planned: Plan, logs: Path, **common: Any) -> session.Executor:
        return ClusterExecutor(self, planned, logs, **common)

    def close(self) -> None:
        with suppress(Exception):
            self.client.close(timeout=_ALIVE_S)

    # Hosts

    def having(self, role: Role) -> list[Labelled]:
        """Hosts with a label; for the server those first that are no client, too."""
        other: Role = "client" if role == "server" else "server"
        found = [host for host in self.hosts if role in host.roles]
        alone = [host for host in found if other not in host.roles]
        return alone + [host for host in found if other in host.roles]

    def look(self) -> None:
        """Who is there now. Raises Lost without a scheduler, ClusterError when hosts differ."""
        found = []
        workers = self._info()["workers"]
        newest = max((info["last_seen"] for info in workers.values()), default=0.0)
        for worker, info in sorted(workers.items()):
            if newest - info["last_seen"] > SILENT_S:
                continue  # cut off, and the scheduler has not given it up yet
            amounts = info.get("resources", {})
            roles: dict[Role, float] = {
                role: amounts[role] for role in ("server", "client") if amounts.get(role, 0) > 0
            }
            address = urlsplit(worker)
            name = str(info["name"])
            if name == worker:
                name = f"{address.hostname}:{address.port}"
            if roles:
                found.append(Labelled(worker, name, address.hostname or "", roles))
        new = [host for host in found if host.worker not in self.facts]
        said = self.client.run(facts.read, workers=[host.worker for host in new], on_error="return")
        for host in new:
            if not isinstance(said.get(host.worker), Facts):
                raise ClusterError(_cannot_tell(host, said.get(host.worker)))
        unlike = facts.differences(
            self.mine, {host.name: (said[host.worker], list(host.roles)) for host in new}
        )
        if unlike:
            raise ClusterError(
                f"the hosts differ: {'; '.join(unlike)}; install the same on all of them"
            )
        self.facts.update(said)
        self.hosts = sorted(found, key=lambda host: host.name)

    def await_hosts(self) -> None:
        """Looks until both labels are there. Raises Lost when one is not for a while."""
        deadline = time.monotonic() + RETURN_S
        while True:
            try:
                self.look()
            except ClusterError as error:  # of a host that joined or went just now
                if time.monotonic() > deadline:
                    raise session.Lost(str(error)) from None
            missing = [role for role in ("server", "client") if not self.having(role)]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise session.Lost(f"no worker labelled {missing[0]} is left on {self.scheduler}")
            time.sleep(0.5)

    def place(self, trial: Trial, processes: int, memory_share: float) -> Placed:
        """Where a trial that fits is to run."""
        rooms = self._rooms(trial, memory_share)
        counts = share.split(trial.load.clients, rooms)
        server = self.having("server")[0]
        seats = [
            self._client_seat(host, count, trial)
            for host, count in zip(self.clients(), counts, strict=True)
            if count
        ]
        cores = _beyond_first(self.facts[server.worker].cores)
        return Placed(Seat(server, cores[:processes]), tuple(seats))

    def clients(self) -> list[Labelled]:
        """The client hosts; that of the server only when there is no other."""
        server = self.having("server")[0]
        return [host for host in self.having("client") if host != server] or [server]

    def _rooms(self, trial: Trial, memory_share: float) -> list[share.Room]:
        return [
            share.of(
                host.name,
                host.roles["client"],
                known.limits,
                len(_sources(known, number))
                if host.wire.startswith("127.")
                else len(known.addresses),
                int(known.free_bytes * memory_share),
                trial.load.clients,
            )
            for number, host in enumerate(self.clients())
            for known in (self.facts[host.worker],)
        ]

    def _client_seat(self, host: Labelled, clients: int, trial: Trial) -> Seat:
        known = self.facts[host.worker]
        cores = _beyond_first(known.cores)
        most = machine.worker_clients(known.limits)
        workers = max(len(cores) or 1, -(-clients // most) if most else 1)
        sources = _sources(known, self.clients().index(host))
        # Of loopback there are always several: they are taken where one has too few ports.
        several = len(known.addresses) > 1 or drive.addresses(trial.load, workers) > 1
        several = several and len(sources) > 1
        return Seat(host, cores, sources if several else (), tuple(drive.even(clients, workers)))

    def described(self) -> list[dict[str, Any]]:
        """A line a host for people and programs; clients: how many it has room for."""
        return [
            {
                "host": host.name,
                "address": host.wire,
                "labels": ", ".join(f"{role}={amount:g}" for role, amount in host.roles.items()),
                "cores": len(known.cores),
                "free MiB": known.free_bytes >> 20,
                "addresses": len(known.addresses),
                "clients": share.of(
                    host.name,
                    1.0,
                    known.limits,
                    len(known.addresses),
                    int(known.free_bytes * session.MEMORY_SHARE),
                    0,
                ).clients,
            }
            for host in self.hosts
            for known in (self.facts[host.worker],)
        ]

    # Asking

    def start(self, host: Labelled, kind: type) -> "Remote":
        """An actor on a host. Raises ClientFailed, Lost."""

        def make() -> Any:
            with self.client.as_current():  # an actor binds itself to the current client
                return self.client.submit(
                    kind, hosts.LEASE_S, actor=True, workers=[host.worker], pure=False
                ).result(timeout=SLOW_S)

        return Remote(self, host, make)

    def vanished(self, host: Labelled, error: BaseException) -> drive.ClientFailed:
        """What an unanswered call means. Raises Lost when it is the scheduler that is gone."""
        self._info()
        return drive.ClientFailed(f"the host {host.name} is gone ({_brief(error)})", host.name)

    def _info(self) -> Any:
        """What the scheduler says of its workers. Raises Lost."""
        client = self.client
        try:
            if client.status != "running":
                raise OSError(f"the connection is {client.status}")
            return client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_ALIVE_S)
        except (OSError, RuntimeError, AttributeError, asyncio.CancelledError) as error:
            raise session.Lost(
                f"the scheduler {self.scheduler} is gone ({_brief(error)})"
            ) from None


def _sources(known: Facts, number: int) -> tuple[str, ...]:
    """The addresses that a host's clients may come from; of loopback there are many."""
    if known.addresses[0].startswith("127."):
        return tuple(f"127.0.{1 + number}.{1 + each}" for each in range(4))
    return known.addresses


def _beyond_first(cores: tuple[int, ...]) -> tuple[int, ...]:
    """The first core is left to the system and to Dask, where there are others."""
    return cores[1:] or cores


def _brief(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _cannot_tell(host: Labelled, said: object) -> str:
    why = _brief(said) if isinstance(said, BaseException) else "it does not answer"
    if "No module named" in why:  # Dask wraps what it cannot even unpack
        return f"the host {host.name} has no c10k ({why}): pip install 'c10k-bench[cluster]' there"
    return f"the host {host.name} cannot be asked what it is: {why}"


class Remote:
    """An actor on a host, asked one thing at a time."""

    def __init__(self, cluster: Cluster, host: Labelled, make: Callable[[], Any]) -> None:
        self.cluster = cluster
        self.host = host
        self.actor = self._answer(make)

    def ask(self, method: str, *args: Any) -> Any:
        """What the method returns or raises. Raises ClientFailed, Lost when nobody answers."""
        limit_s = SLOW_S if method in _SLOW else ANSWER_S
        return self._answer(lambda: getattr(self.actor, method)(*args).result(timeout=limit_s))

    def _answer(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except launch.NotServing:
            raise
        except drive.ClientFailed as error:
            raise drive.ClientFailed(f"on {self.host.name}: {error}") from None
        except (OSError, RuntimeError, asyncio.CancelledError) as error:
            raise self.cluster.vanished(self.host, error) from None
        except Exception as error:
            raise drive.ClientFailed(
                f"on {self.host.name}: {type(error).__name__}: {_brief(error)}"
            ) from None


class RemoteSite:
    """A server under test on its host."""

    def __init__(self, remote: Remote, log: Path, *start: Any) -> None:
        self.remote = remote
        self.log = log
        self.host = remote.host.name
        self.address: tuple[str, int] | str = remote.ask("start", *start)
        self.asked = time.monotonic()

    def glance(self) -> None:
        """Now and then: the host looks closely by itself."""
        if time.monotonic() - self.asked > ASK_S:
            self.remote.ask("glance")
            self.asked = time.monotonic()

    def sample(self) -> None:
        self.remote.ask("sample")

    def connected(self, there: bool) -> None:
        self.remote.ask("connected", there)

    def use(self) -> ServerUse:
        try:
            used: ServerUse = self.remote.ask("use")
        except drive.ClientFailed:
            return ServerUse()  # nobody can say any more
        return used

    def noise(self) -> Noise:
        seen: Noise = self.remote.ask("noise")
        return seen

    def stop(self) -> None:
        with suppress(drive.ClientFailed, session.Lost):
            self.log.write_bytes(self.remote.ask("stop"))


class RemoteCrew:
    """The workers of a trial on all client hosts; as a with block."""

    start_spread_s: float | None = None

    def __init__(
        self,
        remotes: Sequence[Remote],
        seats: Sequence[Seat],
        plans: Sequence[dict[str, Any]],
        memory_share: float,
    ) -> None:
        self.remotes = remotes
        self.seats = seats
        self.plans = plans
        self.cores: Sequence[drive.Core] = [
            (seat.host.name, seat.cores[index % len(seat.cores)] if seat.cores else index)
            for seat in seats
            for index in range(len(seat.shares))
        ]
        ends = [sum(len(seat.shares) for seat in seats[: n + 1]) for n in range(len(seats))]
        self.parts = [
            slice(end - len(seat.shares), end) for seat, end in zip(seats, ends, strict=True)
        ]
        self.pool = ThreadPoolExecutor(len(seats), thread_name_prefix="c10k-hosts")
        self.listening: dict[int, Future[list[tuple[int, drive.Event]]]] = {}
        self.heard: list[tuple[int, drive.Event]] = []
        self.results = [0] * len(seats)  # that have come, of each host
        self.memory_share = memory_share

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
        with suppress(drive.ClientFailed, session.Lost):
            self._all("end")
        self.pool.shutdown(wait=False, cancel_futures=True)

    def said(self, timeout_s: float) -> list[tuple[int, drive.Event]]:
        """What workers said, by their numbers; each host is listened to until its results came."""
        for number, remote in enumerate(self.remotes):
            if number not in self.listening and self.results[number] < len(
                self.seats[number].shares
            ):
                self.listening[number] = self.pool.submit(remote.ask, "said", ASK_S)
        wait(self.listening.values(), timeout_s, FIRST_COMPLETED)
        return self._collect()

    def go(self) -> None:
        """Tells all hosts at once, when none is busy with anything else."""
        wait(self.listening.values())
        self.heard = self._collect()
        self._all("ready")
        times = self._all("go")
        self.start_spread_s = max(end for _, end, _ in times) - min(begin for begin, _, _ in times)

    def hosts(self, results: Sequence[drive.Event]) -> tuple[Host, ...]:
        """Each client host with what its workers saw."""
        noises = [noise for _, _, noise in self._all("noise")]
        found = []
        for seat, part, noise in zip(self.seats, self.parts, noises, strict=True):
            seen = drive.merge(results[part], self.cores[part])
            found.append(
                Host(
                    name=seat.host.name,
                    role="client",
                    clients=sum(seat.shares),
                    workers=len(seat.shares),
                    cpu_share=seen.cpu_share,
                    lag_p99_us=seen.schedule_lag.p99_us if seen.schedule_lag else None,
                    noise=noise,
                )
            )
        return tuple(found)

    def _collect(self) -> list[tuple[int, drive.Event]]:
        found, self.heard = self.heard, []
        for number, future in list(self.listening.items()):
            if future.done():
                del self.listening[number]
                first = self.parts[number].start
                events = future.result()
                found += [(first + index, event) for index, event in events]
                self.results[number] += sum(e.get("event") == "result" for _, e in events)
        return found

    def _all(
        self, method: str, arguments: Sequence[tuple[Any, ...]] = ()
    ) -> list[tuple[float, float, Any]]:
        """Asks all hosts at once: when each was asked, when it had answered, and what."""

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


class ClusterExecutor(session.Executor):
    """Runs a trial on a cluster: its server on one host, its clients on the others."""

    def __init__(self, cluster: Cluster, plan: Plan, logs: Path, **common: Any) -> None:
        super().__init__(plan, logs, **common)
        self.cluster = cluster
        self.room = cluster.room(plan, self.memory_share)
        clients = ", ".join(host.name for host in cluster.clients())
        self.note = f"server on {cluster.having('server')[0].name}, clients on {clients}"

    def setting(self, trial: Trial) -> dict[str, Any]:
        self.cluster.await_hosts()
        if reason := self.room(trial):
            raise session.Refusal(reason)
        processes = self.servers[trial.server].processes
        self.placed = self.cluster.place(trial, processes, self.memory_share)
        workers = sum(len(seat.shares) for seat in self.placed.clients)
        return {"workers": workers, "pinned": self.placed.note}

    def serve(self, trial: Trial, log: Path) -> session.Site:
        seat = self.placed.server
        remote = self.cluster.start(seat.host, hosts.ServerHost)
        wire = f"[{seat.host.wire}]" if ":" in seat.host.wire else seat.host.wire
        server, glance_s = self.servers[trial.server], drive.glance_s(trial.load.kind)
        start = (server, seat.cores, self.memory_share, f"{wire}:0", glance_s)
        return RemoteSite(remote, log, *start)

    def crew(
        self, site: session.Site, trial: Trial, seed: int
    ) -> AbstractContextManager[drive.Crew]:
        seats = self.placed.clients
        plans = drive.plans(
            site.address,
            self.plan.workload,
            trial.load,
            [count for seat in seats for count in seat.shares],
            seed,
            [seat.sources for seat in seats for _ in seat.shares],
        )
        remotes = [self.cluster.start(seat.host, hosts.ClientHost) for seat in seats]
        return RemoteCrew(remotes, seats, plans, self.memory_share)
