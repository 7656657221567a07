"""Gates: the rules that reject a trial, with the reason. Pure.

A gated trial is repeated, at most as often as the workload says, and all of its attempts
are kept and published. When the client was the limit, the trial is not gated, but its
figures are bounds: the server is at least as good, and repeating would not change that.

The gates are as strict as the figure requires. A p99 is decided by the worst 1 % of the time,
so other processes that take 1 % of the time may determine it completely. They can only make
a latency longer. So when they take 0.5 % of the time or more, the p99 is an upper bound of the
server's own. When they take 2 % or more, the p99 is worthless, and the trial is gated.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ..model import Gate, Host, Latency, Limiter, LimiterKind, Measurement

TICKS_S = 0.03  # allowed stolen time: it is counted in ticks of 10 ms, three of which may be one
OTHERS_S = 0.01  # CPU time that other processes may take, however short the trial

RATE_SHARE = 0.97
SLICE_SHARE = 0.02  # share by which a slice may be longer or shorter than planned
TIMER_S, TIMER_SHARE = 0.01, 0.001  # a timer is late by this: the kernel lets long waits overrun
LITTLE = (0.95, 1.05)
READING_S = 0.1  # CPU readings may lie this far outside the slice, or SLICE_SHARE of it
ENGINE_S = 0.002  # CPU time of the suite itself that never rejects a slice, however short
LAG_SHARE = 0.1  # share of the latency: an open loop's client that is later is the limit
MOST_LAG_SHARE = 0.5  # share of the latency: a client that is later sends another load
BOUND_SHARE = 0.9  # share of a core: a busier server, or server and client on one, is the limit


DISTURBANCES = {"host", "steal", "others", "engine", "reading"}  # gates for what the machine did


class Allowed(Struct, frozen=True):
    """How much others may take from a trial before its figures are rejected."""

    steal: float  # by the hypervisor, as a share of the cores
    others: float  # by other processes, in cores
    engine: float  # by the suite's own process, in cores


ALLOWED = Allowed(steal=0.01, others=0.05, engine=0.01)
ALLOWED_TAIL = Allowed(steal=0.004, others=0.02, engine=0.002)
EXACT_TAIL = Allowed(steal=0.001, others=0.005, engine=0.002)  # beyond it, a p99 is a bound


def gates(measured: Measurement) -> tuple[Gate, ...]:
    """Why this trial's figures are rejected; empty when they count."""
    if measured.trial.load.facts.searched:
        return measured.gates  # its steps were judged one by one
    allowed = ALLOWED_TAIL if measured.trial.load.facts.tail else ALLOWED
    return (*_disturbed(measured, allowed), *_short(measured), *_unlike_the_plan(measured))


def _disturbed(measured: Measurement, allowed: Allowed) -> Iterator[Gate]:
    """Gates for disturbances by the machine, by other processes or by the suite itself."""
    if measured.vanished:
        yield Gate("host", f"{measured.vanished} was gone before the trial's end")
    yield from _taken(measured, allowed)
    engine_s, slice_s = measured.engine_cpu_s, measured.duration_s
    if engine_s is not None and slice_s and engine_s > max(allowed.engine * slice_s, ENGINE_S):
        yield Gate("engine", f"the suite used {engine_s / slice_s:.2%} of a core in the slice")


def _taken(measured: Measurement, allowed: Allowed) -> Iterator[Gate]:
    """Gates for hosts from which the hypervisor or other processes took more than is allowed."""
    for host in measured.hosts or (Host("", "server", noise=measured.noise),):
        on = f" on {host.name}" if host.name else ""
        steal, others = host.noise.steal_share, host.noise.others_cores
        per_s = 1 / host.noise.watched_s if host.noise.watched_s else 0.0
        if steal is not None and steal > max(allowed.steal, TICKS_S * per_s):
            yield Gate("steal", f"the hypervisor took {steal:.2%} of the cores{on}")
        surely = None if others is None else others - (host.noise.others_within_cores or 0.0)
        if surely is not None and surely > max(allowed.others, OTHERS_S * per_s):
            yield Gate("others", f"other processes used {others:.1%} of a core{on}")


def by_chance(rejected: Sequence[Gate]) -> bool:
    """Whether a trial with these gates may be accepted when it is repeated.

    Disturbances may be gone then. A slice that was too short for its server will be again.
    """
    return bool(rejected) and {gate.kind for gate in rejected} <= DISTURBANCES


def _short(measured: Measurement) -> Iterator[Gate]:
    """Gates for a slice that was not as long as planned, or too short to measure a rate."""
    planned_s, took_s, load = measured.slice_s, measured.duration_s, measured.trial.load
    if planned_s and took_s is not None and load.facts.lasts_as_planned:
        # a closed loop ends when its clients have finished a whole round
        after_s = (measured.round_trip_s or 0.0) * 1.5 if load.facts.closed_loop else 0.0
        over_s = SLICE_SHARE * planned_s
        late_s = TIMER_S + TIMER_SHARE * planned_s  # where no echo comes to end it in time
        if not planned_s - over_s <= took_s <= planned_s + max(over_s, after_s) + late_s:
            yield Gate("slice", f"it lasted {took_s:.3g} s instead of {planned_s:.3g}")
    little = measured.little
    if little is not None and not LITTLE[0] <= little <= LITTLE[1]:
        why = f"slice too short, rate × latency is {little:.2f} of the messages in flight"
        yield Gate("little", why)
    if measured.server.read_s is not None and took_s and load.facts.lasts_as_planned:
        gap_s = measured.server.read_s - took_s
        if gap_s > max(SLICE_SHARE * took_s, READING_S):
            yield Gate("reading", f"the server's CPU was read {gap_s:.2g} s outside the slice")


def _unlike_the_plan(measured: Measurement) -> Iterator[Gate]:
    rate, load = measured.rate_achieved, measured.trial.load
    if rate is not None and rate < RATE_SHARE * load.rate:
        yield Gate("rate", f"the client sent {rate:,.0f} of {load.rate:,.0f} messages/s")


def bound_by(measured: Measurement) -> Limiter | None:
    """What made this trial's figures bounds, and on which of several hosts; None: nothing did.

    An open loop's client spins while it waits, so how late it sends and reads is used instead of
    its CPU time. Both are part of every latency from the intended send. On a core that it shares
    with the server, neither can have what the other takes, so the share is the core's. There a
    rate is a bound when the clients took more than other processes may; a p99 always is one.
    """
    facts, share = measured.trial.load.facts, measured.client_cpu_share
    if facts.searched:
        return Limiter("client lag") if measured.client_bound else None
    if not facts.rate or share is None:
        return None
    busy = facts.busy_client
    if measured.one_core:
        share += (measured.server.cpu_s or 0.0) / (measured.duration_s or 1.0)
    if measured.shares_core:
        busy = busy or BOUND_SHARE
    if busy is not None and share >= busy and not _took_little(measured):
        return _where("client CPU", {host.name: host.cpu_share for host in measured.hosts})
    if facts.scheduled and (late := _late(measured)):
        return late
    if facts.tail and measured.shares_core:
        return Limiter("client CPU")
    if facts.tail and measured.noise.watched_s and any(_taken(measured, EXACT_TAIL)):
        return Limiter("others")
    return None


def _took_little(measured: Measurement) -> bool:
    """Whether clients on a core of the server took no more of it than other processes may."""
    cpu_s, slice_s = measured.client_cpu_s, measured.duration_s
    if not measured.shares_core or cpu_s is None or not slice_s:
        return False
    return cpu_s / slice_s <= ALLOWED.others


def _late(measured: Measurement) -> Limiter | None:
    """Client lag, when an open loop's client may have made the latency a tenth longer.

    So it is when the latency is more than a tenth above what it surely was without the client's
    own lateness. That is not known of a mix and in old sessions: there, when the client sent or
    read later than a tenth of the latency. In any case when it did so later than half of it: what
    it sent was then no longer what had been planned. By their p99 or, where too few messages lie
    beyond it to be told, by their p90.
    """
    latency = measured.latency
    if latency is None:
        return None
    told = latency.p99_us is not None

    def by(each: Latency) -> float | None:
        return each.p99_us if told else each.p90_us

    # old sessions have no read lag
    own = [by(each) for each in (measured.schedule_lag, measured.read_lag) if each]
    hosts = {host.name: host.lag_p99_us for host in measured.hosts} if told else {}
    lags = [each for each in (*own, *hosts.values()) if each is not None]
    limit, late = by(latency), max(lags, default=0.0)
    if limit is None:
        return None
    least = by(measured.latency_least) if measured.latency_least else None
    lengthened = late > LAG_SHARE * limit if least is None else limit > (1 + LAG_SHARE) * least
    return _where("client lag", hosts) if lengthened or late > MOST_LAG_SHARE * limit else None


def _where(kind: LimiterKind, figures: dict[str, float | None]) -> Limiter:
    """A limiter on the host with the greatest figure; on no host for a single machine."""
    known = {name: figure for name, figure in figures.items() if figure is not None}
    return Limiter(kind, max(known, key=lambda name: known[name]) if known else "")
