"""Gates: what rejects a trial, with its reason. Pure.

A gated trial is repeated, at most as often as the workload says, and all of its attempts
are kept and published. A trial in which the client was the limit is not gated, but a
bound: the server is at least as good as the figure, and repeating would not change that.
"""

from .model import Host, Measurement

STEAL_SHARE = 0.01
OTHERS_CORES = 0.05
RATE_SHARE = 0.97
LAG_SHARE = 0.1  # of the latency: a client that sends later is what limits, in an open loop
BOUND_SHARE = 0.9  # of a core: a busier client is what limits, in the other kinds
STORM_SHARE = 0.8  # in a storm, whose slice holds the wait for the last echo, too


def gates(measured: Measurement) -> tuple[str, ...]:
    """Why this trial's figures are rejected; empty when they stand."""
    reasons = []
    if measured.vanished:
        reasons.append(f"host: {measured.vanished} was gone before the trial's end")
    for host in measured.hosts or (Host("", "server", noise=measured.noise),):
        on = f" on {host.name}" if host.name else ""
        steal, others = host.noise.steal_share, host.noise.others_cores
        if steal is not None and steal > STEAL_SHARE:
            reasons.append(f"steal: the hypervisor took {steal:.1%} of the cores{on}")
        if others is not None and others > OTHERS_CORES:
            reasons.append(f"others: other processes used {others:.0%} of a core{on}")
    rate, load = measured.rate_achieved, measured.trial.load
    if rate is not None and rate < RATE_SHARE * load.rate:
        reasons.append(f"rate: the client sent {rate:,.0f} of {load.rate:,.0f} messages/s")
    return tuple(reasons)


def bound_by(measured: Measurement) -> str:
    """What of the client limited this trial, and on which of several hosts; "": nothing did.

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
    return ""


def _where(figures: dict[str, float | None]) -> str:
    """The host that has most of it; "" for one machine alone."""
    known = {name: figure for name, figure in figures.items() if figure is not None}
    return f" on {max(known, key=lambda name: known[name])}" if known else ""
