"""Runs the plan, block by block; the executor is injectable; resume.

A trial never raises for what a server or a client did: that is its measurement. What
does raise (an interrupt, a full disk) ends the session early, with everything measured
so far on disk and nothing left running.
"""

import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from . import drive, gates, launch
from .model import (
    Conformance,
    Host,
    Measurement,
    Noise,
    Plan,
    Runtime,
    Server,
    ServerUse,
    Session,
    Status,
    Trial,
)
from .store import Writer
from .watch import Surroundings, Watch, available_bytes, read_interrupts_apart

Execute = Callable[[Trial], Measurement]
MEMORY_SHARE = 0.5  # of the free memory, that a trial may take before it is stopped


class Refusal(Exception):
    """Why a trial is not run. status: 'not run' (it cannot be here) or 'failed' (its fault)."""

    def __init__(self, reason: str, *, failed: bool = False) -> None:
        super().__init__(reason)
        self.status: Status = "failed" if failed else "not run"


class Lost(Exception):
    """What trials run on is gone; the session ends early, and can be resumed."""


def refusals(
    cannot: Mapping[str, str],
    room: Callable[[Trial], str],
    conformance: Mapping[str, Conformance],
) -> Callable[[Trial], None]:
    """What raises Refusal for a trial that is not to run.

    cannot: servers that cannot run here, and why. room says why a trial does not fit this
    machine, or "". A server that fails its conformance check is not timed.
    """

    def refuse(trial: Trial) -> None:
        if trial.server in cannot:
            raise Refusal(cannot[trial.server])
        if reason := room(trial):
            raise Refusal(reason)
        found = conformance.get(trial.server)
        if found is not None and found.failures:
            raise Refusal(found.failure, failed=True)

    return refuse


def run(
    plan: Plan,
    execute: Execute,
    writer: Writer,
    *,
    done: Iterable[Measurement] = (),
    more: Callable[[], Iterable[Trial]] = lambda: (),
    before: Callable[[Trial], None] = lambda trial: None,
    after: Callable[[Measurement], None] = lambda measurement: None,
) -> None:
    """Runs every trial of the plan that is not among those done, storing each at once.

    A trial that something disturbed is repeated, each attempt stored. When the plan is at
    its end, more is asked for further trials, until it has none. before is told a trial
    that is about to run; after, what came of each attempt.
    """
    attempts: dict[str, int] = {}  # trial → attempts still to make
    for measurement in done:
        again = gates.by_chance(measurement.gates)
        left = plan.workload.repeats - measurement.attempt if again else 0
        attempts[measurement.trial.key] = left
    queue: Iterable[Trial] = plan.trials
    while queue:
        for trial in queue:
            allowed = plan.workload.repeats + 1
            for attempt in range(allowed - attempts.get(trial.key, allowed), allowed):
                before(trial)
                try:
                    with writer.measuring():
                        measurement = execute(trial)
                except Refusal as refusal:
                    measurement = Measurement(trial, refusal.status, str(refusal))
                rejected = gates.gates(measurement)
                measurement = replace(measurement, attempt=attempt, gates=rejected)
                writer.append(measurement)
                after(measurement)
                if not gates.by_chance(rejected):
                    break
            attempts[trial.key] = 0
        queue = more()


class Site(drive.Watched, Protocol):
    """A server under test, wherever it serves, and what is read beside it."""

    host: str  # its name; "" for this machine alone
    address: tuple[str, int] | str
    barrier: drive.Connected | None  # what it saw; None: not there yet

    def use(self, duration_s: float | None) -> ServerUse:
        """What the server used in a slice of that length, and held; None: there was no slice."""

    def busiest(self, cpus: Sequence[int]) -> float:
        """How busy the busiest of these of its cores was in the slice; 0 where nothing is added.

        Where the kernel keeps interrupts out of a process's clock, that clock misses most of
        what a client costs its core: to send over loopback is to receive in an interrupt.
        """

    def noise(self) -> Noise:
        """What else its machine did since the barrier."""

    def stop(self) -> None:
        """Ends the server and all it started; its log is there afterwards."""


class Machines(Protocol):
    """What a session runs on: this machine, or several."""

    def environment(self) -> dict[str, Any]:
        """What its results depend on, to be published with them."""

    def room(self, planned: Plan, memory_share: float) -> Callable[[Trial], str]:
        """Says why a trial does not fit; "" when it does."""

    def executor(self, planned: Plan, logs: Path, **common: Any) -> "Executor":
        """What runs the plan's trials; common: what every Executor is told."""

    def close(self) -> None:
        """Lets go of the machines; nothing of ours is left on them."""


class LocalSite:
    """A server under test on this machine. Raises launch.NotServing when it does not serve."""

    host = ""
    barrier: drive.Connected | None = None

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
            self.watch = Watch(self.running.pids, self.running.backlog, cpus)
            self.free_bytes = available_bytes()
        except BaseException:
            self.running.stop()
            raise

    def look(self) -> None:
        if reason := self.running.gone():
            raise drive.ClientFailed(reason)
        stop_for_memory(self.free_bytes, self.memory_share)

    def look_at_queue(self) -> None:
        self.watch.queue_look()

    def connected(self, seen: drive.Connected) -> None:
        self.barrier = seen
        if seen.served:  # in a storm nobody is there yet
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
            return 0.0
        return max((self.watch.busy([cpu]) or 0.0 for cpu in cpus), default=0.0)

    def noise(self) -> Noise:
        return self.surroundings.noise() if self.surroundings else Noise()

    def stop(self) -> None:
        self.running.stop()


def stop_for_memory(free_bytes: int, share: float) -> None:
    """Raises ClientFailed when more than that share of what was free is taken."""
    left = available_bytes()
    if left < free_bytes * (1 - share):
        raise drive.ClientFailed(
            f"stopped for memory: {left >> 20:,} MiB were left of the {free_bytes >> 20:,} "
            f"free before it, and {share:.0%} may be taken"
        )


class Executor(ABC):
    """Runs a trial: all that is the same wherever its server and its clients are."""

    note: str  # where server and clients are, in a few words
    client_cpus: tuple[int, ...] = ()  # of this machine, that workers are pinned to

    def __init__(
        self,
        plan: Plan,
        logs: Path,
        *,
        memory_share: float = MEMORY_SHARE,
        runtimes: Mapping[str, Runtime],
        refuse: Callable[[Trial], None],
    ) -> None:
        """refuse raises Refusal for a trial that is not to run.

        memory_share: of the memory that is free, what a trial may take. runtimes: what each
        server that can run here runs on.
        """
        self.plan = plan
        self.logs = logs
        self.memory_share = memory_share
        self.runtimes = runtimes
        self.refuse = refuse
        self.servers: dict[str, Server] = {server.name: server for server in plan.servers}

    @abstractmethod
    def setting(self, trial: Trial) -> dict[str, Any]:
        """Decides where the trial runs, and says it in fields of its measurement."""

    @abstractmethod
    def serve(self, trial: Trial, log: Path) -> Site:
        """Its server, serving. Raises launch.NotServing or drive.ClientFailed."""

    @abstractmethod
    def crew(self, site: Site, trial: Trial, seed: int) -> AbstractContextManager[drive.Crew]:
        """The workers of a trial, none of which is left after the with block."""

    def __call__(self, trial: Trial) -> Measurement:
        self.refuse(trial)
        runtime = self.runtimes[trial.server]
        measurement = Measurement(
            trial,
            "failed",
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=runtime.versions,
            python=runtime.python,
            gil=runtime.gil,
            notes=runtime.notes,
            **self.setting(trial),
        )
        log = self.logs / trial.log
        try:
            site = self.serve(trial, log)
            try:
                return self._load(site, measurement)
            finally:
                site.stop()
                if log.exists() and not log.stat().st_size:
                    log.unlink()  # a server that said nothing leaves nothing
        except launch.NotServing as error:
            return replace(measurement, reason=str(error))
        except drive.ClientFailed as error:
            return replace(measurement, reason=str(error), vanished=error.vanished)
        except OSError as error:
            return replace(measurement, reason=out_of(error))

    def _seed(self, trial: Trial) -> int:
        """Of the schedule: the same for all servers of a block, another in the next."""
        return (self.plan.seed + 1000 * trial.block) % 2**62

    def _load(self, site: Site, measurement: Measurement) -> Measurement:
        """Drives the load against a serving server."""
        trial = measurement.trial
        load = trial.load
        try:
            with self.crew(site, trial, self._seed(trial)) as crew:
                seen = drive.drive(crew, load, site)
                used, noise = site.use(seen.duration_s), site.noise()
        except drive.ClientFailed as error:
            failed = replace(
                measurement, reason=str(error), vanished=error.vanished, server=site.use(None)
            )
            return _with_barrier(failed, site.barrier)
        barrier = seen.arrived or site.barrier
        assert barrier is not None  # else it had failed
        measured = replace(
            _with_barrier(measurement, barrier),
            duration_s=seen.duration_s,
            messages=seen.messages,
            messages_per_s=None if load.kind == "idle" else seen.messages_per_s,
            bins=seen.bins,
            intervals=seen.intervals,
            longest_stall_s=seen.longest_stall_s,
            longest_stall_at_s=seen.longest_stall_at_s,
            stalls=seen.stalls,
            slice_s=seen.slice_s,
            slice_at_s=None if seen.hosts else seen.slice_at_s,
            round_trip_s=seen.round_trip_s,
            at_ceiling=seen.at_ceiling,
            little=seen.little,
            engine_cpu_s=seen.engine_cpu_s,
            lost=seen.lost,
            altered=seen.altered,
            errors=dict(Counter(barrier.failed) + Counter(seen.errors)),
            latency=seen.latency,
            latency_from_send=seen.latency_from_send,
            schedule_lag=seen.schedule_lag,
            rate_achieved=seen.rate_achieved,
            client_cpu_share=max(seen.cpu_share, site.busiest(self.client_cpus)),
            client_cpu_s=seen.cpu_s,
            fairness=seen.fairness,
            slowest_share=seen.slowest_share,
            retried=seen.retried,
            launched_s=seen.launched_s,
            clients_without_echo=seen.clients_without_echo,
            hosts=(Host(site.host, "server", noise=noise), *seen.hosts) if seen.hosts else (),
            start_spread_s=seen.start_spread_s,
            server=used,
            noise=noise,
        )
        reason = faults(measured, seen.faults, seen.unsent)
        return replace(measured, status="failed" if reason else "ok", reason=reason)


class LocalExecutor(Executor):
    """Runs a trial on this machine: its server's processes, one or more client workers."""

    def __init__(
        self,
        plan: Plan,
        logs: Path,
        *,
        server_cpus: tuple[int, ...],
        client_cpus: tuple[int, ...],
        workers: int,
        worker_clients: int | None = None,
        pinned: str,
        one_core: bool = False,
        **common: Any,
    ) -> None:
        """Empty cpus: not pinned. common: what every executor is told.

        worker_clients: what one worker can hold; more clients get more workers.
        """
        super().__init__(plan, logs, **common)
        self.server_cpus = server_cpus
        self.client_cpus = client_cpus
        self.workers = workers
        self.worker_clients = worker_clients
        self.pinned = self.note = pinned
        self.one_core = one_core

    def setting(self, trial: Trial) -> dict[str, Any]:
        workers = self._workers(trial.load.clients)
        return {"workers": workers, "pinned": self.pinned, "one_core": self.one_core}

    def serve(self, trial: Trial, log: Path) -> Site:
        return LocalSite(
            self.servers[trial.server],
            log,
            self.server_cpus,
            self.memory_share,
            python=self.runtimes[trial.server].executable,
        )

    def crew(self, site: Site, trial: Trial, seed: int) -> AbstractContextManager[drive.Crew]:
        shares = drive.even(trial.load.clients, self._workers(trial.load.clients))
        plans = drive.plans(site.address, self.plan.workload, trial.load, shares, seed)
        return drive.LocalCrew(plans, self.client_cpus)

    def _workers(self, clients: int) -> int:
        needed = -(-clients // self.worker_clients) if self.worker_clients else 1
        return min(max(self.workers, needed), clients)


def out_of(error: OSError) -> str:
    """Why a trial failed when it was the suite itself that ran out of something."""
    return f"the suite cannot run it: {error.strerror or error}"


def _with_barrier(measurement: Measurement, barrier: drive.Connected | None) -> Measurement:
    """What the barrier saw, when the trial came that far."""
    if barrier is None:
        return measurement
    return replace(
        measurement,
        connected=barrier.connected,
        served=barrier.served,
        connect_s=barrier.connect_s,
        errors=barrier.failed,
        client_bytes_per_connection=barrier.bytes_per_connection,
    )


def faults(measured: Measurement, altered: Mapping[str, int], unsent: int = 0) -> str:
    """What a trial that came to its end did wrong, in words; "" for nothing."""
    wrong = []
    clients = measured.trial.load.clients
    if measured.served != clients:
        wrong.append(f"{measured.served} of {clients} clients served")
    wrong += [f"{count} echoes {fault}" for fault, count in altered.items()]
    if measured.lost:
        wrong.append(f"{measured.lost} echoes lost (none within the drain)")
    if unsent:
        wrong.append(f"{unsent} messages never sent")
    wrong += [f"{count} × {error}" for error, count in measured.errors.items()]
    return "; ".join(wrong)


def changes(
    session: Session,
    environment: Sequence[str],
    code: Mapping[str, str],
    runtimes: Mapping[str, Runtime],
) -> list[str]:
    """What is no longer as it was when the session began, one line each.

    environment: the differences of the machine; code and runtimes: of the servers, now.
    """
    found = list(environment)
    for server in session.plan.servers:
        name = server.name
        if session.code.get(name, code[name]) != code[name]:
            found.append(f"{server.path}: its code")
        was, is_now = session.runtimes.get(name), runtimes.get(name)
        if was is None or is_now is None:
            continue
        if was.python != is_now.python:
            found.append(f"{name}: Python {was.python} → {is_now.python}")
        for key in sorted(was.versions.keys() | is_now.versions.keys()):
            old, new = was.versions.get(key, "none"), is_now.versions.get(key, "none")
            if old != new:
                found.append(f"{name}: {key} {old} → {new}")
    return list(dict.fromkeys(found))


def now() -> str:
    """The time for a session's head: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stamp() -> str:
    """The time for a folder's name."""
    return time.strftime("%Y%m%d-%H%M%S")
