"""One trial: its server, its workers and its measurement; the same on one machine or several."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from .. import launch
from ..errors import os_reason
from ..model import (
    Cause,
    Conformance,
    Host,
    Measurement,
    Noise,
    Plan,
    Runtime,
    Server,
    ServerUse,
    Status,
    Trial,
    Workload,
)
from ..text import timestamp
from . import causes, drive, events, merge

MEMORY_SHARE = 0.5  # of the free memory, which a trial may use before it is stopped


class Rules(NamedTuple):
    """What applies to every trial of a session, wherever it runs."""

    runtimes: Mapping[str, Runtime]  # what each server that can run here runs on
    refuse: Callable[[Trial], None] = lambda trial: None  # raises Refusal
    memory_share: float = MEMORY_SHARE


class Placement(Struct, frozen=True):
    """Where one trial runs, as its measurement records it."""

    workers: int
    pinned: str  # the cores of the server and of the workers, in words
    shared: tuple[int, ...] = ()  # cores of the server on which workers run, too


class Refusal(Exception):
    """Why a trial is not run. status: 'failed' if that is the server's fault, else 'not run'."""

    def __init__(self, reason: str, *, failed: bool = False) -> None:
        super().__init__(reason)
        self.status: Status = "failed" if failed else "not run"


class Lost(Exception):
    """A machine of the session is gone. The session ends early, and can be resumed."""


# Says why a trial does not fit what the session runs on; "" when it does.
WhyUnfit = Callable[[Trial], str]


def refusals(
    cannot: Mapping[str, str],
    why_unfit: WhyUnfit,
    conformance: Mapping[str, Conformance],
) -> Callable[[Trial], None]:
    """A function that raises Refusal for a trial that must not run.

    cannot: servers that cannot run here, and why. A server that failed its conformance check is
    not timed.
    """

    def refuse(trial: Trial) -> None:
        if trial.server in cannot:
            raise Refusal(cannot[trial.server])
        if reason := why_unfit(trial):
            raise Refusal(reason)
        found = conformance.get(trial.server)
        if found is not None and found.failures:
            raise Refusal(found.failure, failed=True)

    return refuse


class Site(drive.Watched, Protocol):
    """A running server under test, on any machine, and the readings of its trial."""

    host: str  # the name of its host; "" when the session runs on this machine only
    address: tuple[str, int] | str
    authority: str  # PEM: who signed the certificate of a server that speaks TLS; else ""
    barrier: merge.Connected | None  # what was seen at the barrier; None before it

    def use(self, duration_s: float | None) -> ServerUse:
        """What the server held, and used in a slice of that length; None: there was no slice."""

    def busiest(self, cpus: Sequence[int]) -> float:
        """The busy share of the busiest of these cores in the slice; 0 where it is not needed.

        It is needed where the CPU clock of a process leaves out interrupts. Sending over
        loopback means receiving in an interrupt, so the clock of a client then misses most of
        the time that the client costs its core. It is also needed of cores of the server: a
        client there cannot have what the server takes.
        """

    def noise(self) -> Noise:
        """What else the server's machine did since the barrier."""

    def stop(self) -> None:
        """Ends the server and all that it started; its log is complete afterwards."""


class Machines(Protocol):
    """What a session runs on: this machine, or several."""

    exposed: bool  # anyone who can reach the hosts can use the servers

    def admit(self, workload: Workload) -> None:
        """Raises UserError when it asks for more cores for the server than there are."""

    def environment(self) -> dict[str, Any]:
        """The properties of the machines on which results depend, to be published with them."""

    def fit_rule(self, planned: Plan, memory_share: float) -> WhyUnfit:
        """A function that returns why a trial does not fit. memory_share: of the free memory."""

    def executor(self, planned: Plan, logs: Path, rules: Rules) -> "Executor[Any]":
        """The executor that runs the plan's trials."""

    def close(self) -> None:
        """Releases the machines; no process of the session is left on them."""


Place = TypeVar("Place", bound=Placement)


class Executor(ABC, Generic[Place]):
    """Runs a trial. A subclass says where its server and its clients run."""

    note: str  # where server and clients are, in a few words
    client_cpus: tuple[int, ...] = ()  # the cores of this machine that workers are pinned to

    def __init__(self, plan: Plan, logs: Path, rules: Rules) -> None:
        self.plan = plan
        self.logs = logs
        self.rules = rules
        self.servers: dict[str, Server] = {server.name: server for server in plan.servers}

    @abstractmethod
    def place(self, trial: Trial) -> Place:
        """Where the trial runs. Raises Refusal when it cannot."""

    @abstractmethod
    def serve(self, placement: Place, trial: Trial, log: Path) -> Site:
        """The trial's server, which is serving. Raises launch.NotServing or ClientFailed."""

    @abstractmethod
    def crew(
        self, placement: Place, site: Site, trial: Trial, seed: int
    ) -> AbstractContextManager[drive.Crew]:
        """The workers of a trial; none is left running after the with block."""

    def __call__(self, trial: Trial) -> Measurement:
        """Runs a trial; whatever goes wrong is in its measurement. Raises Refusal or Lost."""
        self.rules.refuse(trial)
        runtime = self.rules.runtimes[trial.server]
        placement = self.place(trial)
        measurement = Measurement(
            trial,
            "failed",
            started_at=timestamp(),
            versions=runtime.versions,
            python=runtime.python,
            gil=runtime.gil,
            notes=runtime.notes,
            workers=placement.workers,
            pinned=placement.pinned,
            shared_cores=placement.shared,
        )
        log = self.logs / trial.log
        try:
            site = self.serve(placement, trial, log)
            try:
                return self._load(placement, site, measurement)
            finally:
                site.stop()
                if log.exists() and not log.stat().st_size:
                    log.unlink()  # an empty log is not kept
        except launch.NotServing as error:
            reason = str(error)
            return replace(measurement, reason=reason, cause=causes.of_words(reason))
        except events.ClientFailed as error:
            return _failed(measurement, error)
        except OSError as error:
            return replace(measurement, reason=out_of(error), cause=causes.of_error(error))

    def _seed(self, trial: Trial) -> int:
        """The seed of the schedule: the same for all servers of a block, another in the next."""
        return (self.plan.seed + 1000 * trial.block) % 2**62

    def _load(self, placement: Place, site: Site, measurement: Measurement) -> Measurement:
        """Drives the load against a serving server."""
        trial = measurement.trial
        load = trial.load
        try:
            with self.crew(placement, site, trial, self._seed(trial)) as crew:
                seen = drive.drive(crew, load, site)
                used, noise = site.use(seen.duration_s), site.noise()
        except events.ClientFailed as error:
            failed = replace(_failed(measurement, error), server=site.use(None))
            return _with_barrier(failed, site.barrier)
        barrier = seen.arrived or site.barrier
        assert barrier is not None  # else ClientFailed was raised
        measured = replace(
            _with_barrier(measurement, barrier),
            duration_s=seen.duration_s,
            messages=seen.messages,
            messages_per_s=seen.messages_per_s if load.facts.rate else None,
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
            latency_least=seen.latency_least,
            schedule_lag=seen.schedule_lag,
            read_lag=seen.read_lag,
            latency_by_request=seen.latency_by_request,
            rate_achieved=seen.rate_achieved,
            client_cpu_share=max(
                seen.cpu_share, site.busiest((*self.client_cpus, *placement.shared))
            ),
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
        if not reason:
            return replace(measured, status="ok")
        unserved: Cause = "connecting" if measured.served != load.clients else ""
        return replace(measured, reason=reason, cause=causes.of_words(reason) or unserved)


def _failed(measurement: Measurement, error: events.ClientFailed) -> Measurement:
    return replace(measurement, reason=str(error), vanished=error.vanished, cause=error.cause)


def out_of(error: OSError) -> str:
    """The reason of a trial that failed because the suite itself ran out of something."""
    return f"the suite cannot run it: {os_reason(error)}"


def _with_barrier(measurement: Measurement, barrier: merge.Connected | None) -> Measurement:
    """The measurement with what was seen at the barrier, if the trial came that far."""
    if barrier is None:
        return measurement
    return replace(
        measurement,
        tls=barrier.tls,
        loops=barrier.loops,
        connected=barrier.connected,
        served=barrier.served,
        connect_s=barrier.connect_s,
        errors=barrier.failed,
        client_bytes_per_connection=barrier.bytes_per_connection,
    )


def faults(measured: Measurement, fault_counts: Mapping[str, int], unsent: int = 0) -> str:
    """What was wrong with a trial that came to its end, in words; "" for nothing.

    fault_counts: how many echoes had each fault (altered, doubled, misdirected ...).
    """
    wrong = []
    clients = measured.trial.load.clients
    if measured.served != clients:
        wrong.append(f"{measured.served} of {clients} clients served")
    wrong += [f"{count} echoes {fault}" for fault, count in fault_counts.items()]
    if measured.lost:
        wrong.append(f"{measured.lost} echoes lost (none within the drain)")
    if unsent:
        wrong.append(f"{unsent} messages never sent")
    wrong += [f"{count} × {error}" for error, count in measured.errors.items()]
    return "; ".join(wrong)
