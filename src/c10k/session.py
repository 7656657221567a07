"""Runs the plan, block by block; the executor is injectable; resume.

A trial never raises for what a server or a client did: that is its measurement. What
does raise (an interrupt, a full disk) ends the session early, with everything measured
so far on disk and nothing left running.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from . import drive, gates, launch
from .model import Conformance, Measurement, Plan, Runtime, Server, Session, Status, Trial
from .store import Writer
from .watch import Surroundings, Watch, available_bytes

Execute = Callable[[Trial], Measurement]
MEMORY_SHARE = 0.5  # of the free memory, that a trial may take before it is stopped


class Refusal(Exception):
    """Why a trial is not run. status: 'not run' (it cannot be here) or 'failed' (its fault)."""

    def __init__(self, reason: str, *, failed: bool = False) -> None:
        super().__init__(reason)
        self.status: Status = "failed" if failed else "not run"


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

    A gated trial is repeated, each attempt stored. When the plan is at its end, more is
    asked for further trials, until it has none. before is told a trial that is about to
    run; after, what came of each attempt.
    """
    attempts: dict[str, int] = {}  # trial → attempts still to make
    for measurement in done:
        left = plan.workload.repeats - measurement.attempt if measurement.gates else 0
        attempts[measurement.trial.key] = left
    queue: Iterable[Trial] = plan.trials
    while queue:
        for trial in queue:
            allowed = plan.workload.repeats + 1
            for attempt in range(allowed - attempts.get(trial.key, allowed), allowed):
                before(trial)
                try:
                    measurement = execute(trial)
                except Refusal as refusal:
                    measurement = Measurement(trial, refusal.status, str(refusal))
                rejected = gates.gates(measurement)
                measurement = replace(measurement, attempt=attempt, gates=rejected)
                writer.append(measurement)
                after(measurement)
                if not rejected:
                    break
            attempts[trial.key] = 0
        queue = more()


class LocalExecutor:
    """Runs a trial on this machine: one server process, one or more client workers."""

    def __init__(
        self,
        plan: Plan,
        logs: Path,
        *,
        server_cpus: tuple[int, ...],
        client_cpus: tuple[int, ...],
        workers: int,
        worker_clients: int | None = None,
        memory_share: float = MEMORY_SHARE,
        pinned: str,
        one_core: bool = False,
        runtimes: Mapping[str, Runtime],
        refuse: Callable[[Trial], None],
    ) -> None:
        """Empty cpus: not pinned. refuse raises Refusal for a trial that is not to run.

        worker_clients: what one worker can hold; more clients get more workers.
        memory_share: of the memory that is free, what a trial may take. runtimes: what each
        server that can run here runs on.
        """
        self.plan = plan
        self.logs = logs
        self.server_cpus = server_cpus
        self.client_cpus = client_cpus
        self.workers = workers
        self.worker_clients = worker_clients
        self.memory_share = memory_share
        self.pinned = pinned
        self.one_core = one_core
        self.runtimes = runtimes
        self.refuse = refuse
        self.servers: dict[str, Server] = {server.name: server for server in plan.servers}

    def __call__(self, trial: Trial) -> Measurement:
        self.refuse(trial)
        runtime = self.runtimes[trial.server]
        measurement = Measurement(
            trial,
            "failed",
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            workers=self._workers(trial.load.clients),
            pinned=self.pinned,
            one_core=self.one_core,
            versions=runtime.versions,
            python=runtime.python,
            gil=runtime.gil,
            notes=runtime.notes,
        )
        log = self.logs / trial.log
        try:
            running = launch.start(
                self.servers[trial.server],
                log,
                cpus=self.server_cpus or None,
                python=runtime.executable,
            )
        except launch.NotServing as error:
            return replace(measurement, reason=str(error))
        try:
            return self._load(running, measurement)
        finally:
            running.stop()
            if not log.stat().st_size:
                log.unlink()  # a server that said nothing leaves nothing

    def _workers(self, clients: int) -> int:
        needed = -(-clients // self.worker_clients) if self.worker_clients else 1
        return min(max(self.workers, needed), clients)

    def _seed(self, trial: Trial) -> int:
        """Of the schedule: the same for all servers of a block, another in the next."""
        return (self.plan.seed + 1000 * trial.block) % 2**62

    def _load(self, running: launch.Running, measurement: Measurement) -> Measurement:
        """Drives the load against a serving server."""
        trial = measurement.trial
        load = trial.load

        watch = Watch(running.pids, running.backlog)
        free_bytes = available_bytes()
        barrier: list[drive.Connected] = []
        surroundings: list[Surroundings] = []

        def waited() -> None:
            watch.glance()
            left = available_bytes()
            if left < free_bytes * (1 - self.memory_share):
                raise drive.ClientFailed(
                    f"stopped for memory: {left >> 20:,} MiB were left of the {free_bytes >> 20:,} "
                    f"free before it, and {self.memory_share:.0%} may be taken"
                )

        def connected(seen: drive.Connected) -> None:
            barrier.append(seen)
            if load.kind != "storm":  # else nobody is there yet
                watch.connected()
            surroundings.append(Surroundings())

        try:
            seen = drive.drive(
                drive.plans(
                    running, self.plan.workload, load, measurement.workers, self._seed(trial)
                ),
                self.client_cpus,
                server_gone=running.gone,
                on_wait=waited,
                on_connected=connected,
                on_sample=watch.sample,
            )
        except drive.ClientFailed as error:
            failed = replace(measurement, reason=str(error), server=watch.use())
            return _with_barrier(failed, barrier)
        if seen.arrived is not None:
            barrier = [seen.arrived]
        measured = replace(
            _with_barrier(measurement, barrier),
            duration_s=seen.duration_s,
            messages=seen.messages,
            messages_per_s=None if load.kind == "idle" else seen.messages_per_s,
            bins=seen.bins,
            lost=seen.lost,
            altered=seen.altered,
            errors={**barrier[0].failed, **seen.errors},
            latency=seen.latency,
            latency_from_send=seen.latency_from_send,
            schedule_lag=seen.schedule_lag,
            rate_achieved=seen.rate_achieved,
            client_cpu_share=seen.cpu_share,
            client_cpu_s=seen.cpu_s,
            fairness=seen.fairness,
            slowest_share=seen.slowest_share,
            retried=seen.retried,
            launched_s=seen.launched_s,
            clients_without_echo=seen.clients_without_echo,
            server=watch.use(),
            noise=surroundings[0].noise(),
        )
        reason = faults(measured, seen.faults, seen.unsent)
        return replace(measured, status="failed" if reason else "ok", reason=reason)


def _with_barrier(measurement: Measurement, barrier: list[drive.Connected]) -> Measurement:
    """What the barrier saw, when the trial came that far."""
    if not barrier:
        return measurement
    return replace(
        measurement,
        connected=barrier[0].connected,
        served=barrier[0].served,
        connect_s=barrier[0].connect_s,
        errors=barrier[0].failed,
        client_bytes_per_connection=barrier[0].bytes_per_connection,
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
