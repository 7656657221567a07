"""The command's side: finds the labelled hosts of a scheduler and decides where a trial runs.

Only the scheduler must be reachable from here; it passes every message on.
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
from ...model import Plan, ServerCores, Trial, Workload
from .. import drive, events, executor, worker_plans
from . import facts, hosts, share
from .facts import ClusterError, HostFacts, LabelledHost, Role
from .remote import SLOW_S, Remote, RemoteCrew, RemoteSite, brief
from .share import Seat

CONNECT_S = 10.0
SILENT_S = 15.0  # a host without a heartbeat for so long is gone; it sends several in this time
RETURN_S = 15.0  # how long a host that vanished may take to return, when there is no other
_ALIVE_S = 5.0


class Seated(executor.Placement, frozen=True, kw_only=True):
    """Where a trial runs: the server's host, and those of the clients."""

    server: Seat
    clients: tuple[Seat, ...]


def _seated(server: Seat, clients: tuple[Seat, ...], shared: tuple[int, ...]) -> Seated:
    seats = [("server", server), *(("clients", seat) for seat in clients)]
    pinned = "; ".join(f"{role} on {_cores(seat)}" for role, seat in seats)
    workers = sum(len(seat.shares) for seat in clients)
    return Seated(workers, pinned, shared, server=server, clients=clients)


def _cores(seat: Seat) -> str:
    if not seat.cores:
        return f"{seat.host.name}, not pinned"
    return f"{machine.named(seat.cores)} of {seat.host.name}"


def connect(scheduler: str) -> "Cluster":
    """The hosts of a scheduler, which must not differ in what matters. Raises ClusterError."""
    try:
        import distributed
    except ImportError:
        remedy = paths.pip_install("'c10k-bench[cluster]'")
        raise ClusterError(f"--scheduler: Dask is not installed: {remedy}") from None
    # Dask logs at length that hosts or schedulers are gone, which we report in one line. Its many
    # loggers have levels of their own, and nothing else here logs, so all logging is turned off.
    logging.disable()
    try:
        _ = urlsplit(scheduler).port  # a bad port raises here at once; in Dask after ten seconds
        client = distributed.Client(scheduler, timeout=CONNECT_S, name="c10k")
    except Exception as error:  # anything may listen there, and its answer may confuse Dask
        why = f"no scheduler answers: {brief(error)} (c10k cluster shows how to start one)"
        raise ClusterError(f"--scheduler {scheduler}: {why}") from None
    cluster = Cluster(client, scheduler)
    try:
        cluster.look()
        cluster.answer(lambda: client.run_on_scheduler(hosts.stop_dask_housekeeping))
        for role in ("server", "client"):
            if not cluster.having(role):
                raise ClusterError(
                    f"--scheduler {scheduler}: no worker is labelled {role}; start one with "
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
        self.hosts: list[LabelledHost] = []
        self.facts: dict[str, HostFacts] = {}  # by LabelledHost.worker

    # Machines

    def admit(self, workload: Workload) -> None:
        if reason := self._too_few_cores(workload):
            raise ClusterError(reason)

    def _too_few_cores(self, workload: Workload) -> str:
        """Why the server cannot have as many cores as it asks for; "" when it can."""
        host = self.server()
        there = len(share.usable(self.facts[host.worker]))
        return machine.too_few_cores(host.name, workload.server_cores, there)

    def environment(self) -> dict[str, Any]:
        """The groups of the server's host, and those of each client host under its name."""
        others = {
            f"{host.name}: {group}": values
            for host in self.clients()
            for group, values in self.facts[host.worker].environment.items()
            if group != "moment"
        }
        return {**self.facts[self.server().worker].environment, **others}

    def fit_rule(self, planned: Plan, memory_share: float) -> executor.WhyUnfit:
        """Says why a trial does not fit the hosts that were there at the last look()."""
        processes = {server.name: server.processes for server in planned.servers}
        searching = planned.workload.search is not None

        def why_unfit(trial: Trial) -> str:
            host = self.server()
            known = self.facts[host.worker]
            if reason := self._too_few_cores(planned.workload):
                return reason
            fits = machine.capacity(
                trial.load.clients,
                machine.Limits(
                    descriptors_hard=None if searching else known.limits.descriptors_hard,
                    privileged=known.limits.privileged,
                ),
                processes=processes[trial.server],
                budget_bytes=int(known.free_bytes * memory_share),
            )
            if not fits.enough:
                return f"on {host.name} {fits.reason}"
            clients = trial.load.clients
            return share.refusal(clients, self._client_capacities(clients, memory_share))

        return why_unfit

    def executor(self, planned: Plan, logs: Path, rules: executor.Rules) -> "ClusterExecutor":
        return ClusterExecutor(self, planned, logs, rules)

    def close(self) -> None:
        with suppress(Exception):
            self.client.close(timeout=_ALIVE_S)

    # Hosts

    def having(self, role: Role) -> list[LabelledHost]:
        """The hosts with a label; those that have no other label come first."""
        other: Role = "client" if role == "server" else "server"
        found = [host for host in self.hosts if role in host.roles]
        alone = [host for host in found if other not in host.roles]
        return alone + [host for host in found if other in host.roles]

    def look(self) -> None:
        """Finds the hosts that are there now.

        Raises Lost when the scheduler is gone, ClusterError when hosts differ.
        """
        found = []
        workers = self._info()["workers"]
        newest = max((info["last_seen"] for info in workers.values()), default=0.0)
        for worker, info in sorted(workers.items()):
            if newest - info["last_seen"] > SILENT_S:
                continue  # it is cut off, but the scheduler has not given it up yet
            amounts = info.get("resources", {})
            roles: dict[Role, float] = {
                role: amounts[role] for role in ("server", "client") if amounts.get(role, 0) > 0
            }
            address = urlsplit(worker)
            name = str(info["name"])
            if name == worker:
                name = f"{address.hostname}:{address.port}"
            if roles:
                found.append(LabelledHost(worker, name, address.hostname or "", roles))
        if new := [host for host in found if host.worker not in self.facts]:
            self._meet(new)
        self.hosts = sorted(found, key=lambda host: host.name)

    def _meet(self, new: Sequence[LabelledHost]) -> None:
        """Asks new hosts for their facts and stops Dask's housekeeping there.

        Raises ClusterError, Lost.
        """
        said = self._run(facts.read, new)
        for host in new:
            if not isinstance(said.get(host.worker), HostFacts):
                raise ClusterError(_no_facts(host, said.get(host.worker)))
        unlike = facts.differences(
            self.mine, {host.name: (said[host.worker], list(host.roles)) for host in new}
        )
        if unlike:
            raise ClusterError(
                f"the hosts differ: {'; '.join(unlike)}; install the same on all of them"
            )
        for nanny in (False, True):
            with suppress(KeyError):  # a worker has just left: the next look() will miss it
                self._run(hosts.stop_dask_housekeeping, new, nanny=nanny)
        self.facts.update(said)

    def await_hosts(self) -> None:
        """Looks until there are hosts with both labels. Raises Lost after RETURN_S."""
        deadline = time.monotonic() + RETURN_S
        while True:
            try:
                self.look()
            except ClusterError as error:  # about a host that has just joined or left
                if time.monotonic() > deadline:
                    raise executor.Lost(str(error)) from None
            missing = [role for role in ("server", "client") if not self.having(role)]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise executor.Lost(f"no worker labelled {missing[0]} is left on {self.scheduler}")
            time.sleep(0.5)

    def place(
        self, trial: Trial, processes: int, server_cores: ServerCores, memory_share: float
    ) -> Seated:
        """Where a trial runs. It must fit (see fit_rule)."""
        clients = trial.load.clients
        counts = share.split(clients, self._client_capacities(clients, memory_share))
        server, hosts = self.server(), self.clients()
        known = self.facts[server.worker]
        cores = share.server_cores(known, processes, server_cores)
        theirs = [share.client_cores(self.facts[host.worker]) for host in hosts]
        shared: tuple[int, ...] = ()
        if hosts == [server]:
            both = share.cores_of_both(known, processes, server_cores)
            cores, theirs, shared = both.server or (), [both.clients or ()], both.shared
        seats = [
            self._client_seat(host, host_cores, count, trial)
            for host, host_cores, count in zip(hosts, theirs, counts, strict=True)
            if count
        ]
        return _seated(Seat(server, cores), tuple(seats), shared)

    def server(self) -> LabelledHost:
        """The host that serves."""
        return self.having("server")[0]

    def clients(self) -> list[LabelledHost]:
        """The client hosts; the server's own host is one only when there is no other."""
        server = self.server()
        return [host for host in self.having("client") if host != server] or [server]

    def _client_capacities(self, wanted: int, memory_share: float) -> list[share.HostCapacity]:
        return [self._capacity(host, wanted, memory_share) for host in self.clients()]

    def _capacity(self, host: LabelledHost, wanted: int, memory_share: float) -> share.HostCapacity:
        """How many clients a host can have, also when it has no such label."""
        known = self.facts[host.worker]
        return share.capacity(
            host.name,
            host.roles.get("client", 1.0),
            known.limits,
            len(_sources(known)),
            int(known.free_bytes * memory_share),
            wanted,
        )

    def _client_seat(
        self, host: LabelledHost, cores: tuple[int, ...], clients: int, trial: Trial
    ) -> Seat:
        known = self.facts[host.worker]
        most = machine.worker_clients(known.limits)
        workers = max(len(cores) or 1, -(-clients // most) if most else 1)
        sources = _sources(known, self.clients().index(host))
        # Loopback always has more addresses; they are used only where one has too few ports.
        more = len(known.addresses) > 1 or worker_plans.addresses(trial.load, workers) > 1
        return Seat(
            host,
            cores,
            sources if more and len(sources) > 1 else (),
            tuple(worker_plans.even(clients, workers)),
        )

    def described(self) -> list[dict[str, Any]]:
        """What c10k cluster prints of each host, by column."""
        return [self._described(host) for host in self.hosts]

    def _described(self, host: LabelledHost) -> dict[str, Any]:
        known = self.facts[host.worker]
        return {
            "host": host.name,
            "address": host.wire,
            "labels": ", ".join(f"{role}={amount:g}" for role, amount in host.roles.items()),
            "cores": len(known.cores),
            "free MiB": known.free_bytes >> 20,
            "addresses": len(known.addresses),
            "clients": self._capacity(host, 0, executor.MEMORY_SHARE).most,
        }

    # Asking

    def start(self, host: LabelledHost, kind: type) -> Remote:
        """Starts an actor on a host. Raises ClientFailed, Lost."""

        def make() -> Any:
            with self.client.as_current():  # an actor uses the client that is current now
                return self.client.submit(
                    kind, hosts.LEASE_S, actor=True, workers=[host.worker], pure=False
                ).result(timeout=SLOW_S)

        return Remote(host, make, self.vanished)

    def vanished(self, host: LabelledHost, error: BaseException) -> events.ClientFailed:
        """The error for a host that does not answer. Raises Lost when the scheduler is gone."""
        self._info()
        return events.ClientFailed(f"the host {host.name} is gone ({brief(error)})", host.name)

    def _info(self) -> Any:
        """What the scheduler reports about its workers. Raises Lost."""
        client = self.client
        return self.answer(
            lambda: client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_ALIVE_S)
        )

    def _run(self, function: Callable[..., Any], on: Sequence[LabelledHost], **options: Any) -> Any:
        """What a function returns or raises on each host, by LabelledHost.worker. Raises Lost."""
        workers = [host.worker for host in on]
        return self.answer(
            lambda: self.client.run(function, workers=workers, on_error="return", **options)
        )

    def answer(self, call: Callable[[], Any]) -> Any:
        """What a call to the scheduler returns. Raises Lost when the scheduler is gone."""
        try:
            if self.client.status != "running":
                raise OSError(f"the connection is {self.client.status}")
            return call()
        except (OSError, RuntimeError, AttributeError, asyncio.CancelledError) as error:
            raise executor.Lost(
                f"the scheduler {self.scheduler} is gone ({brief(error)})"
            ) from None


def _sources(known: HostFacts, index: int = 0) -> tuple[str, ...]:
    """The addresses that a host's clients can connect from.

    On loopback there are as many as one likes; index is the host's among the client hosts, so
    that no two have the same.
    """
    if known.addresses[0].startswith("127."):
        return worker_plans.loopback_sources(index)
    return known.addresses


def _no_facts(host: LabelledHost, said: object) -> str:
    """Why a host gave something else than its facts."""
    if isinstance(said, BaseException):
        return (
            f"the host {host.name} cannot run c10k ({brief(said)}): install the same there as here"
        )
    return f"the host {host.name} does not answer"


class ClusterExecutor(executor.Executor[Seated]):
    """Runs a trial on a cluster: its server on one host, its clients on the others."""

    def __init__(self, cluster: Cluster, plan: Plan, logs: Path, rules: executor.Rules) -> None:
        super().__init__(plan, logs, rules)
        self.cluster = cluster
        self.why_unfit = cluster.fit_rule(plan, rules.memory_share)
        clients = ", ".join(host.name for host in cluster.clients())
        self.note = f"server on {cluster.server().name}, clients on {clients}"

    def place(self, trial: Trial) -> Seated:
        """Waits for missing hosts, then places the trial. Raises Refusal, Lost."""
        self.cluster.await_hosts()
        if reason := self.why_unfit(trial):
            raise executor.Refusal(reason)
        processes, cores = self.servers[trial.server].processes, self.plan.workload.server_cores
        return self.cluster.place(trial, processes, cores, self.rules.memory_share)

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
            site.authority,
        )
        remotes = [self.cluster.start(seat.host, hosts.ClientHost) for seat in seats]
        return RemoteCrew(remotes, seats, plans, self.rules.memory_share)
