"""Runs the plan, block by block; the executor is injectable; resume.

A trial never raises for what a server or a client did: that is its measurement. What
does raise (an interrupt, a full disk) ends the session early, with everything measured
so far on disk and nothing left running.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from . import drive, launch
from .model import Measurement, Plan, Server, Trial
from .store import Writer
from .watch import Watch

Execute = Callable[[Trial], Measurement]


class Refusal(Exception):
    """Why a trial is not run. status: 'not run' (it cannot be here) or 'failed' (its fault)."""

    def __init__(self, reason: str, *, failed: bool = False) -> None:
        super().__init__(reason)
        self.failed = failed


def run(
    plan: Plan,
    execute: Execute,
    writer: Writer,
    *,
    done: Iterable[Measurement] = (),
    before: Callable[[Trial, int], None] = lambda trial, left: None,
    after: Callable[[Measurement], None] = lambda measurement: None,
) -> None:
    """Runs every trial of the plan that is not among those done, storing each at once.

    before is told the trial and how many are left with it; after, what came of it.
    """
    finished = {measurement.trial.key for measurement in done}
    left = [trial for trial in plan.trials if trial.key not in finished]
    for index, trial in enumerate(left):
        before(trial, len(left) - index)
        try:
            measurement = execute(trial)
        except Refusal as refusal:
            status = "failed" if refusal.failed else "not run"
            measurement = Measurement(trial, status, str(refusal))  # type: ignore[arg-type]
        writer.append(measurement)
        after(measurement)


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
        pinned: str,
        versions: Mapping[str, dict[str, str]],
        notes: Mapping[str, tuple[str, ...]],
        refuse: Callable[[Trial], None],
    ) -> None:
        """Empty cpus: not pinned. refuse raises Refusal for a trial that is not to run."""
        self.plan = plan
        self.logs = logs
        self.server_cpus = server_cpus
        self.client_cpus = client_cpus
        self.workers = workers
        self.pinned = pinned
        self.versions = versions
        self.notes = notes
        self.refuse = refuse
        self.servers: dict[str, Server] = {server.name: server for server in plan.servers}

    def __call__(self, trial: Trial) -> Measurement:
        self.refuse(trial)
        measurement = Measurement(
            trial,
            "failed",
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            workers=min(self.workers, trial.load.clients),
            pinned=self.pinned,
            versions=self.versions.get(trial.server, {}),
            notes=self.notes.get(trial.server, ()),
        )
        log = self.logs / f"{trial.key}.log"
        try:
            running = launch.start(self.servers[trial.server], log, cpus=self.server_cpus or None)
        except launch.NotServing as error:
            return replace(measurement, reason=str(error))
        try:
            return self._load(running, measurement)
        finally:
            running.stop()

    def _load(self, running: launch.Running, measurement: Measurement) -> Measurement:
        """Drives the load against a serving server."""
        load = measurement.trial.load

        def queue_length() -> int | None:
            backlog = running.backlog()
            return None if backlog is None else backlog.length

        watch = Watch(running.pid, queue_length)
        barrier: list[drive.Connected] = []

        def connected(seen: drive.Connected) -> None:
            barrier.append(seen)
            watch.connected()

        try:
            seen = drive.drive(
                drive.plans(running, self.plan.workload, load, self.workers),
                self.client_cpus,
                server_gone=running.gone,
                on_wait=watch.glance,
                on_connected=connected,
                on_sample=watch.sample,
            )
        except drive.ClientFailed as error:
            failed = replace(measurement, reason=str(error), server=watch.use())
            return _with_barrier(failed, barrier)
        measured = replace(
            _with_barrier(measurement, barrier),
            duration_s=seen.duration_s,
            messages=seen.messages,
            messages_per_s=None if load.kind == "idle" else seen.messages_per_s,
            lost=seen.lost,
            altered=seen.altered,
            errors={**barrier[0].failed, **seen.errors},
            latency=seen.latency,
            client_cpu_share=seen.cpu_share,
            fairness=seen.fairness,
            clients_without_echo=seen.clients_without_echo,
            server=watch.use(),
        )
        reason = faults(measured, seen.faults)
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


def faults(measured: Measurement, altered: Mapping[str, int]) -> str:
    """What a trial that came to its end did wrong, in words; "" for nothing."""
    wrong = []
    clients = measured.trial.load.clients
    if measured.served != clients:
        wrong.append(f"{measured.served} of {clients} clients served")
    wrong += [f"{count} echoes {fault}" for fault, count in altered.items()]
    if measured.lost:
        wrong.append(f"{measured.lost} echoes lost (none within the drain)")
    wrong += [f"{count} × {error}" for error, count in measured.errors.items()]
    return "; ".join(wrong)


def now() -> str:
    """The time for a session's head: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stamp() -> str:
    """The time for a folder's name."""
    return time.strftime("%Y%m%d-%H%M%S")
