"""The command's side: finds the labelled hosts of a scheduler and says where a trial runs.

Only the scheduler need be reachable from here: all words go through it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ... import machine, paths
from ...model import Plan, Trial
from .. import drive, events, executor, worker_plans
from . import facts, hosts, share
from .facts import ClusterError, Facts, Labelled, Role
from .remote import SLOW_S, Remote, RemoteCrew, RemoteSite, brief
from .share import Seat

CONNECT_S = 10.0
SILENT_S = 15.0  # without a heartbeat, of which a host gives several in this time
RETURN_S = 15.0  # for a host that vanished to come back, when there is no other
_ALIVE_S = 5.0


class Seated(executor.Placement, frozen=True, kw_only=True):
    """Where a trial runs: the server's host, and those of the clients."""

    server: Seat
    clients: tuple[Seat, ...]


def _seated(server: Seat, clients: tuple[Seat, ...]) -> Seated:
    seats = [("server", server), *(("clients", seat) for seat in clients)]
    pinned = "; ".join(f"{role} on {_cores(seat)}" for role, seat in seats)
    workers = sum(len(seat.shares) for seat in clients)
    return Seated(workers, pinned, server=server, clients=clients)


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
        remedy = paths.pip_install("'c10k-bench[cluster]'")
        raise ClusterError(f"--scheduler: Dask is not installed: {remedy}") from None
    # What Dask logs of hosts and schedulers that are gone is said in one line, by us. Its many
    # loggers have levels of their own; nothing else here logs.
    logging.disable()
    try:
        _ = urlsplit(scheduler).port  # Dask asserts that it is one, after ten seconds
        client = distributed.Client(scheduler, timeout=CONNECT_S, name="c10k")
    except Exception as error:  # whatever listens there: not all that answers speaks Dask's words
        why = f"no scheduler answers: {brief(error)} (c10k cluster shows how)"
        raise ClusterError(f"--scheduler {scheduler}: {why}") from None
    cluster = Cluster(client, scheduler)
    try:
        cluster.look()
        cluster.answer(lambda: client.run_on_scheduler(hosts.hush))
        for role in ("server", "client"):
            if not cluster.having(role):
                raise ClusterError(
                    f"{scheduler}: no worker is labelled {role}; start one with "
                    f'dask worker {scheduler} --resources "{role}=1" (c10k cluster shows how)'
                )
    except executor.Lost as error:
        cluster.close()
        raise ClusterError(f"--scheduler {scheduler}: {error}") from None
    except BaseException:
        cluster.close()
        raise
    return cluster


class Cluster:
    """The labelled hosts of a scheduler."""

    exposed = True

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

    def executor(self, planned: Plan, logs: Path, rules: executor.Rules) -> "ClusterExecutor":
        return ClusterExecutor(self, planned, logs, rules)

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
        if new := [host for host in found if host.worker not in self.facts]:
            self._meet(new)
        self.hosts = sorted(found, key=lambda host: host.name)

    def _meet(self, new: Sequence[Labelled]) -> None:
        """Asks hosts what they are, and hushes them. Raises ClusterError, Lost."""
        said = self._run(facts.read, new)
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
        for nanny in (False, True):
            with suppress(KeyError):  # of a worker that left meanwhile: the next look tells
                self._run(hosts.hush, new, nanny=nanny)
        self.facts.update(said)

    def await_hosts(self) -> None:
        """Looks until both labels are there. Raises Lost when one is not for a while."""
        deadline = time.monotonic() + RETURN_S
        while True:
            try:
                self.look()
            except ClusterError as error:  # of a host that joined or went just now
                if time.monotonic() > deadline:
                    raise executor.Lost(str(error)) from None
            missing = [role for role in ("server", "client") if not self.having(role)]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise executor.Lost(f"no worker labelled {missing[0]} is left on {self.scheduler}")
            time.sleep(0.5)

    def place(self, trial: Trial, processes: int, memory_share: float) -> Seated:
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
        return _seated(Seat(server, cores[:processes]), tuple(seats))

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
        several = len(known.addresses) > 1 or worker_plans.addresses(trial.load, workers) > 1
        several = several and len(sources) > 1
        return Seat(
            host, cores, sources if several else (), tuple(worker_plans.even(clients, workers))
        )

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
                    int(known.free_bytes * executor.MEMORY_SHARE),
                    0,
                ).clients,
            }
            for host in self.hosts
            for known in (self.facts[host.worker],)
        ]

    # Asking

    def start(self, host: Labelled, kind: type) -> Remote:
        """An actor on a host. Raises ClientFailed, Lost."""

        def make() -> Any:
            with self.client.as_current():  # an actor binds itself to the current client
                return self.client.submit(
                    kind, hosts.LEASE_S, actor=True, workers=[host.worker], pure=False
                ).result(timeout=SLOW_S)

        return Remote(host, make, self.vanished)

    def vanished(self, host: Labelled, error: BaseException) -> events.ClientFailed:
        """What an unanswered call means. Raises Lost when it is the scheduler that is gone."""
        self._info()
        return events.ClientFailed(f"the host {host.name} is gone ({brief(error)})", host.name)

    def _info(self) -> Any:
        """What the scheduler says of its workers. Raises Lost."""
        client = self.client
        return self.answer(
            lambda: client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_ALIVE_S)
        )

    def _run(self, function: Callable[..., Any], on: Sequence[Labelled], **options: Any) -> Any:
        """What it returns or raises on each worker, by their addresses. Raises Lost."""
        workers = [host.worker for host in on]
        return self.answer(
            lambda: self.client.run(function, workers=workers, on_error="return", **options)
        )

    def answer(self, call: Callable[[], Any]) -> Any:
        """What the scheduler answers. Raises Lost when it does not."""
        try:
            if self.client.status != "running":
                raise OSError(f"the connection is {self.client.status}")
            return call()
        except (OSError, RuntimeError, AttributeError, asyncio.CancelledError) as error:
            raise executor.Lost(
                f"the scheduler {self.scheduler} is gone ({brief(error)})"
            ) from None


def _sources(known: Facts, number: int) -> tuple[str, ...]:
    """The addresses that a host's clients may come from; of loopback there are many."""
    if known.addresses[0].startswith("127."):
        return tuple(f"127.0.{1 + number}.{1 + each}" for each in range(4))
    return known.addresses


def _beyond_first(cores: tuple[int, ...]) -> tuple[int, ...]:
    """The first core is left to the system and to Dask, where there are others."""
    return cores[1:] or cores


def _cannot_tell(host: Labelled, said: object) -> str:
    why = brief(said) if isinstance(said, BaseException) else "it does not answer"
    if "No module named" in why:  # Dask wraps what it cannot even unpack
        return f"the host {host.name} has no c10k ({why}): install the same there as here"
    return f"the host {host.name} cannot be asked what it is: {why}"


class ClusterExecutor(executor.Executor[Seated]):
    """Runs a trial on a cluster: its server on one host, its clients on the others."""

    def __init__(self, cluster: Cluster, plan: Plan, logs: Path, rules: executor.Rules) -> None:
        super().__init__(plan, logs, rules)
        self.cluster = cluster
        self.room = cluster.room(plan, rules.memory_share)
        clients = ", ".join(host.name for host in cluster.clients())
        self.note = f"server on {cluster.having('server')[0].name}, clients on {clients}"

    def place(self, trial: Trial) -> Seated:
        """Waits for hosts that are missing. Raises Refusal, Lost."""
        self.cluster.await_hosts()
        if reason := self.room(trial):
            raise executor.Refusal(reason)
        processes = self.servers[trial.server].processes
        return self.cluster.place(trial, processes, self.rules.memory_share)

    def serve(self, placement: Seated, trial: Trial, log: Path) -> executor.Site:
        seat = placement.server
        remote = self.cluster.start(seat.host, hosts.ServerHost)
        wire = f"[{seat.host.wire}]" if ":" in seat.host.wire else seat.host.wire
        server, queues = self.servers[trial.server], trial.load.facts.clients_arrive
        start = (server, seat.cores, self.rules.memory_share, f"{wire}:0", queues)
        return RemoteSite(remote, log, *start)

    def crew(
        self, placement: Seated, site: executor.Site, trial: Trial, seed: int
    ) -> AbstractContextManager[drive.Crew]:
        seats = placement.clients
        plans = worker_plans.plans(
            site.address,
            self.plan.workload,
            trial.load,
            [count for seat in seats for count in seat.shares],
            seed,
            [seat.sources for seat in seats for _ in seat.shares],
        )
        remotes = [self.cluster.start(seat.host, hosts.ClientHost) for seat in seats]
        return RemoteCrew(remotes, seats, plans, self.rules.memory_share)
