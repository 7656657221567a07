"""Gates: what rejects a trial, with its reason. Pure.

A gated trial is repeated, at most as often as the workload says, and all of its attempts
are kept and published. A trial in which the client was the limit is not gated, but a
bound: the server is at least as good as the figure, and repeating would not change that.

The gates are as narrow as what is measured: a p99 is the worst hundredth of the time, and
whoever takes a hundredth of the time from a trial may make all of it. What others take can
only make a latency longer. So from half a hundredth on the p99 is a bound, which the server's
own lies below; from two hundredths on it says nothing any more, and is a gate.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ..model import Host, Measurement

TAILS = ("open", "storm")  # kinds that are about a p99: a hundredth of the time decides it
TICKS_S = 0.03  # stolen time is counted in ticks of 10 ms: three of them may be one
OTHERS_S = 0.01  # that others may take from however short a trial

RATE_SHARE = 0.97
SLICE_SHARE = 0.02  # that a slice may be longer or shorter than it was to be
LITTLE = (0.95, 1.05)
READING_S = 0.1  # that the CPU's readings may lie outside the slice, or SLICE_SHARE of it
ENGINE_S = 0.002  # of the suite's own CPU time, that no short slice is rejected for
LAG_SHARE = 0.1  # of the latency: a client that sends later is what limits, in an open loop
BOUND_SHARE = 0.9  # of a core: a busier client is what limits, in the other kinds
STORM_SHARE = 0.8  # in a storm, whose slice holds the wait for the last echo, too


DISTURBANCES = {"host", "steal", "others", "engine", "reading"}  # gates that accuse the machine


class Allowed(Struct, frozen=True):
    """What may be taken from a trial by others before its figures no longer stand."""

    steal: float  # share of the cores, by the hypervisor
    others: float  # cores, by other processes
    engine: float  # of a core, by the suite's own process


ALLOWED = Allowed(steal=0.01, others=0.05, engine=0.01)
ALLOWED_TAIL = Allowed(steal=0.004, others=0.02, engine=0.002)
EXACT_TAIL = Allowed(steal=0.001, others=0.005, engine=0.002)  # more, and a p99 is a bound


def gates(measured: Measurement) -> tuple[str, ...]:
    """Why this trial's figures are rejected; empty when they stand."""
    allowed = ALLOWED_TAIL if measured.trial.load.kind in TAILS else ALLOWED
    return (*_disturbed(measured, allowed), *_short(measured), *_unlike_the_plan(measured))


def _disturbed(measured: Measurement, allowed: Allowed) -> Iterator[str]:
    """By the machine, by other processes, or by the suite itself."""
    if measured.vanished:
        yield f"host: {measured.vanished} was gone before the trial's end"
    yield from _taken(measured, allowed)
    engine_s, slice_s = measured.engine_cpu_s, measured.duration_s
    if engine_s is not None and slice_s and engine_s > max(allowed.engine * slice_s, ENGINE_S):
        yield f"engine: the suite itself used {engine_s / slice_s:.2%} of a core in the slice"


def _taken(measured: Measurement, allowed: Allowed) -> Iterator[str]:
    """Who took more of a host than is allowed, in words."""
    for host in measured.hosts or (Host("", "server", noise=measured.noise),):
        on = f" on {host.name}" if host.name else ""
        steal, others = host.noise.steal_share, host.noise.others_cores
        per_s = 1 / host.noise.watched_s if host.noise.watched_s else 0.0
        if steal is not None and steal > max(allowed.steal, TICKS_S * per_s):
            yield f"steal: the hypervisor took {steal:.2%} of the cores{on}"
        surely = None if others is None else others - (host.noise.others_within_cores or 0.0)
        if surely is not None and surely > max(allowed.others, OTHERS_S * per_s):
            yield f"others: other processes used {others:.1%} of a core{on}"


def by_chance(reasons: Sequence[str]) -> bool:
    """Whether a trial that was rejected for these reasons may do better when it is repeated.

    A slice that was too short for its server will be so again.
    """
    return bool(reasons) and {each.partition(":")[0] for each in reasons} <= DISTURBANCES


def _short(measured: Measurement) -> Iterator[str]:
    """A slice that is not as long as its plan, or too short to tell a rate."""
    planned_s, took_s, load = measured.slice_s, measured.duration_s, measured.trial.load
    if planned_s and took_s is not None and load.kind != "storm":
        # a closed loop ends with a whole round of its clients
        after_s = (measured.round_trip_s or 0.0) * 1.5 if load.kind == "closed" else 0.0
        over_s = SLICE_SHARE * planned_s
        if not planned_s - over_s <= took_s <= planned_s + max(over_s, after_s) + 0.01:
            yield f"slice: it lasted {took_s:.3g} s instead of {planned_s:.3g}"
    little = measured.little
    if little is not None and not LITTLE[0] <= little <= LITTLE[1]:
        yield (
            f"little: slice too short, rate × latency is {little:.2f} of the messages on their way"
        )
    if measured.server.read_s is not None and took_s and load.kind != "storm":
        gap_s = measured.server.read_s - took_s
        if gap_s > max(SLICE_SHARE * took_s, READING_S):
            yield f"reading: the server's CPU was read {gap_s:.2g} s beside the slice"


def _unlike_the_plan(measured: Measurement) -> Iterator[str]:
    rate, load = measured.rate_achieved, measured.trial.load
    if rate is not None and rate < RATE_SHARE * load.rate:
        yield f"rate: the client sent {rate:,.0f} of {load.rate:,.0f} messages/s"


def bound_by(measured: Measurement) -> str:
    """What made this trial's figures bounds, and on which of several hosts; "": nothing did.

    An open loop's client spins while it waits, so its CPU time says nothing there; the
    schedule's lag does. It is part of every latency from the intended send. On one core
    for both, what the client takes the server cannot have.
    """
    kind = measured.trial.load.kind
    share = measured.client_cpu_share
    if kind == "idle" or share is None:
        return ""
    if measured.one_core:
        share += (measured.server.cpu_s or 0.0) / (measured.duration_s or 1.0)
    limit = STORM_SHARE if kind == "storm" else BOUND_SHARE
    if share >= limit and (kind != "open" or measured.one_core):
        return "client CPU" + _where({host.name: host.cpu_share for host in measured.hosts})
    lags = {host.name: host.lag_p99_us for host in measured.hosts}
    lag = measured.schedule_lag.p99_us if measured.schedule_lag else None
    lag = max((each for each in (lag, *lags.values()) if each is not None), default=None)
    latency = measured.latency.p99_us if measured.latency else None
    if kind == "open" and lag is not None and latency is not None and lag > LAG_SHARE * latency:
        return "client lag" + _where(lags)
    if kind in TAILS and measured.noise.watched_s and any(_taken(measured, EXACT_TAIL)):
        return "others"
    return ""


def _where(figures: dict[str, float | None]) -> str:
    """The host that has most of it; "" for one machine alone."""
    known = {name: figure for name, figure in figures.items() if figure is not None}
    return f" on {max(known, key=lambda name: known[name])}" if known else ""
