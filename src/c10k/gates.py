"""Gates: what rejects a trial, with its reason. Pure.

A gated trial is repeated, at most as often as the workload says, and all of its attempts
are kept and published. A closed loop whose client is the limit is not gated: its rate is
a bound, and repeating would not change that.
"""

from .model import Measurement

STEAL_SHARE = 0.01
OTHERS_CORES = 0.05
RATE_SHARE = 0.97
LAG_SHARE = 0.1
BOUND_SHARE = 0.9  # of a core: a busier client is what limits, in a closed loop


def gates(measured: Measurement) -> tuple[str, ...]:
    """Why this trial's figures are rejected; empty when they stand."""
    reasons = []
    steal, others = measured.noise.steal_share, measured.noise.others_cores
    if steal is not None and steal > STEAL_SHARE:
        reasons.append(f"steal: the hypervisor took {steal:.1%} of the cores")
    if others is not None and others > OTHERS_CORES:
        reasons.append(f"others: other processes used {others:.0%} of a core")
    rate, load = measured.rate_achieved, measured.trial.load
    if rate is not None and rate < RATE_SHARE * load.rate:
        reasons.append(f"rate: the client sent {rate:,.0f} of {load.rate:,.0f} messages/s")
    lag, latency = measured.schedule_lag, measured.latency
    if (
        lag is not None
        and latency is not None
        and lag.p99_us is not None
        and latency.p99_us is not None
        and lag.p99_us > LAG_SHARE * latency.p99_us
    ):
        reasons.append(
            f"lag: the schedule's p99 lag of {lag.p99_us:.0f} µs is above a tenth "
            f"of the latency's p99 of {latency.p99_us:.0f} µs"
        )
    return tuple(reasons)
