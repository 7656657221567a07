"""A server's capacity over the blocks, and how it did at shares of it. Pure."""

from collections.abc import Iterable, Sequence

from ..model import LoadPoint, Measurement, Step
from . import samples
from .cells import spread_of_all
from .queue import ideal_p99_us


def interval(trials: Sequence[Measurement]) -> tuple[float, float] | None:
    """Between which rates a further search would end, in messages/s; None for one search.

    At 95 %. It also holds every rate that a search of these has left open.
    """
    found = [(trial.capacity_per_s, trial.fails_at_per_s) for trial in trials]
    known = [(holds, fails or holds) for holds, fails in found if holds]
    further = samples.further([holds for holds, _ in known])
    if further is None:
        return None
    return min(further[0], *(holds for holds, _ in known)), max(
        further[1], *(fails for _, fails in known)
    )


def points(trials: Sequence[Measurement]) -> tuple[LoadPoint, ...]:
    """One point for each share at which latency was measured; rejected steps do not count."""
    steps = [
        step for trial in trials for step in trial.steps if step.share and step.kept is not None
    ]
    return tuple(
        _point(share, [step for step in steps if step.share == share])
        for share in sorted({step.share for step in steps})
    )


def _point(share: float, steps: Sequence[Step]) -> LoadPoint:
    return LoadPoint(
        share=share,
        blocks=len(steps),
        bound=any(step.bound for step in steps),
        latency_p50_us=spread_of_all(step.p50_us for step in steps),
        latency_p99_us=spread_of_all(step.p99_us for step in steps),
        longest_stall_s=spread_of_all(step.longest_stall_s for step in steps),
        server_cpu_us_per_message=spread_of_all(step.cpu_us_per_message for step in steps),
        over_ideal=spread_of_all(_over_ideal(steps)),
    )


def _over_ideal(steps: Iterable[Step]) -> Iterable[float | None]:
    """p99 over that of the ideal queue; None for a server of several cores, which is no M/D/1."""
    for step in steps:
        service_us = step.cpu_us_per_message if step.cores in (None, 1) else None
        ideal = ideal_p99_us(step.rate, service_us) if service_us else None
        yield step.p99_us / ideal if step.p99_us and ideal else None
