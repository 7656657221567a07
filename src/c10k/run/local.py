"""Runs a session on this machine alone: its limits, its cores, its environment."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from .. import launch, machine, paths
from ..errors import UserError
from ..launch.watch import Surroundings, Watch, available_bytes, read_interrupts_apart
from ..model import Noise, Plan, Server, ServerUse, Trial, Workload
from . import drive, events, merge, worker_plans, workers
from .executor import Executor, Placement, Rules, Site, WhyUnfit


class LocalMachine:
    """This machine, where server and clients talk over loopback."""

    exposed = False

    def admit(self, workload: Workload) -> None:
        """Raises UserError when the server cannot have as many cores as it asks for."""
        there = len(machine.cores_allowed() or ())
        if reason := machine.too_few_cores("this machine", workload.server_cores, there):
            raise UserError(reason)

    def environment(self) -> dict[str, Any]:
        """The properties of the machine that results depend on."""
        return machine.environment(paths.SUITE)

    def fit_rule(self, planned: Plan, memory_share: float) -> WhyUnfit:
        """A function that says why a trial does not fit this machine in its present state.

        A search may exceed the descriptors of one process, because there the server is meant
        to break.
        """
        processes = {server.name: server.processes for server in planned.servers}
        limits, budget = machine.read_limits(), int(available_bytes() * memory_share)
        most, searching = machine.worker_clients(limits), planned.workload.search is not None
        limits = replace(limits, descriptors_hard=None) if searching else limits

        def why_unfit(trial: Trial) -> str:
            clients = trial.load.clients
            workers = -(-clients // most) if most else 1
            return machine.capacity(
                clients,
                limits,
                addresses=worker_plans.addresses(trial.load, workers),
                processes=processes[trial.server],
                budget_bytes=budget,
            ).reason

        return why_unfit

    def executor(self, planned: Plan, logs: Path, rules: Rules) -> "LocalExecutor":
        """The executor of a plan; server and clients have separate cores if there are enough."""
        pinning = machine.cores(planned.workload.processes, planned.workload.server_cores)
        return LocalExecutor(planned, logs, rules, pinning, machine.worker_clients())

    def close(self) -> None:
        """Does nothing: this machine needs no release."""


class LocalSite:
    """A server under test on this machine, started on creation. Raises launch.NotServing."""

    host = ""
    barrier: merge.Connected | None = None

    def __init__(
        self,
        server: Server,
        log: Path,
        cpus: tuple[int, ...],
        memory_share: float,
        bind: str = "127.0.0.1:0",
        python: str = sys.executable,
    ) -> None:
        self.memory_share = memory_share
        self.surroundings: Surroundings | None = None
        self.running = launch.start(server, log, bind=bind, cpus=cpus or None, python=python)
        try:
            self.address = self.running.address
            port = None if isinstance(self.address, str) else self.address[1]
            certificate = self.running.certificate
            self.authority = certificate.authority.read_text() if certificate else ""
            self.watch = Watch(self.running.pids, self.running.backlog, cpus, port)
            self.free_bytes = available_bytes()
        except BaseException:
            self.running.stop()
            raise

    def look(self) -> None:
        if reason := self.running.why_gone():
            raise events.ClientFailed(reason)
        stop_for_memory(self.free_bytes, self.memory_share)

    def look_at_queue(self) -> None:
        self.watch.queue_look()

    def connected(self, seen: merge.Connected) -> None:
        self.barrier = seen
        if seen.served:  # in a storm no client has connected yet
            self.watch.connected()
        self.surroundings = Surroundings()

    def begin(self) -> None:
        self.watch.begin()

    def end(self) -> None:
        self.watch.end()

    def loaded(self) -> None:
        self.watch.loaded()

    def use(self, duration_s: float | None) -> ServerUse:
        return self.watch.use(duration_s)

    def busiest(self, cpus: Sequence[int]) -> float:
        if read_interrupts_apart() is False:
            cpus = [cpu for cpu in cpus if cpu in self.watch.cpus]
        return max((self.watch.busy([cpu]) or 0.0 for cpu in cpus), default=0.0)

    def noise(self) -> Noise:
        return self.surroundings.noise() if self.surroundings else Noise()

    def stop(self) -> None:
        self.running.stop()


def stop_for_memory(free_bytes: int, share: float) -> None:
    """Raises ClientFailed when more than this share of the free memory has been used."""
    left = available_bytes()
    if left < free_bytes * (1 - share):
        raise events.ClientFailed(
            f"stopped for memory: {left >> 20:,} of {free_bytes >> 20:,} MiB were left free, "
            f"and a trial may take {share:.0%}",
            cause="memory",
        )


class LocalExecutor(Executor[Placement]):
    """Runs a trial on this machine: the server's processes and one or more client workers."""

    def __init__(
        self,
        plan: Plan,
        logs: Path,
        rules: Rules,
        pinning: machine.Pinning,
        worker_clients: int | None = None,
    ) -> None:
        """worker_clients: the most clients of one worker; more clients get more workers."""
        super().__init__(plan, logs, rules)
        self.pinning = pinning
        self.client_cpus = pinning.clients or ()
        self.worker_clients = worker_clients
        self.note = pinning.note

    def place(self, trial: Trial) -> Placement:
        clients = trial.load.clients
        needed = -(-clients // self.worker_clients) if self.worker_clients else 1
        count = min(max(self.pinning.workers, needed), clients)
        return Placement(count, self.pinning.note, self.pinning.shared)

    def serve(self, placement: Placement, trial: Trial, log: Path) -> Site:
        return LocalSite(
            self.servers[trial.server],
            log,
            self.pinning.server or (),
            self.rules.memory_share,
            python=self.rules.runtimes[trial.server].executable,
        )

    def crew(
        self, placement: Placement, site: Site, trial: Trial, seed: int
    ) -> AbstractContextManager[drive.Crew]:
        shares = worker_plans.even(trial.load.clients, placement.workers)
        plans = worker_plans.plans(
            site.address, self.plan.workload, trial.load, shares, seed, authority=site.authority
        )
        return workers.LocalCrew(plans, self.client_cpus)
