"""Searches a server's capacity: the rate to try next, and what has been found. Pure.

The capacity is the greatest rate of an open loop that keeps a service level. One lucky trial
does not show that a rate keeps it, nor one unlucky trial that it misses it. So a rate keeps the
level when more of its trials did than did not, and the search ends when the greatest rate that
keeps it and the least greater rate that misses it are close, each by CONFIRMED trials more than
spoke against it. Rates are doubled or halved until there are two such rates, then the next rate
is their geometric mean. This assumes that a server that misses the level at some rate misses it
at every greater rate; where the trials contradict that, the greatest rate that keeps it counts.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ..model import Load, Step

CONFIRMED = 2  # trials that spoke for a rate, less those that spoke against it
FAR, NEAR = 2.0, 1.15  # factors to the next rate: at first, and from a rate that was near before
LEAST_PER_S, MOST_PER_S = 1.0, 10_000_000.0
CONTRADICTED = 6  # steps of a usual search that speak against others, by the kept sessions
MOST_STEPS = 40  # of one search; a server on which trials disagree for ever is undecided
MESSAGES = 12_000  # of a step, at least: 120 are then slower than a p99


def following(steps: Sequence[Step], first: float, load: Load, near: bool) -> float | None:
    """The rate to try next, in messages/s; None when the search has ended.

    first: the rate that is tried first. near: whether the capacity is expected close to it.
    """
    scores = _scores(steps)
    if disagree(steps):
        return None
    if not scores:
        return _rounded(min(max(first, LEAST_PER_S), MOST_PER_S))
    if tied := [rate for rate, score in scores.items() if not score]:
        return tied[0]
    holds, fails = bracket(steps)
    factor = NEAR if near and len(scores) == 1 else FAR
    if fails is None:
        assert holds is not None
        return _unless_last(holds, min(holds * factor, MOST_PER_S), scores)
    if holds is None:
        return _unless_last(fails, max(fails / factor, LEAST_PER_S), scores)
    if fails / holds > 1 + load.within:
        return _rounded(math.sqrt(holds * fails))
    for rate in (holds, fails):
        if abs(scores[rate]) < CONFIRMED:
            return rate
    return None


def _unless_last(rate: float, beyond: float, scores: Counter[float]) -> float | None:
    """The rate beyond; where there is none, this rate until it is confirmed, then None."""
    if _rounded(beyond) != rate:
        return _rounded(beyond)
    return rate if abs(scores[rate]) < CONFIRMED else None


def bracket(steps: Iterable[Step]) -> tuple[float | None, float | None]:
    """The greatest rate that keeps the level, the least greater one that misses it, or None."""
    scores = _scores(steps)
    holds = max((rate for rate, score in scores.items() if score > 0), default=None)
    fails = [rate for rate, score in scores.items() if score < 0 and rate > (holds or 0)]
    return holds, min(fails, default=None)


def disagree(steps: Iterable[Step]) -> bool:
    """Whether so many trials have not decided the search that no more are made."""
    return sum(step.decides for step in steps) >= MOST_STEPS


def expected_steps(load: Load) -> int:
    """About how many steps a search takes, with those at shares of the capacity."""
    halvings = math.ceil(math.log2(math.log(FAR) / math.log1p(load.within)))
    return 2 + halvings + 2 * (CONFIRMED - 1) + CONTRADICTED + len(load.shares)


def slice_s(load: Load, rate: float) -> float:
    """How long a step at this rate lasts, in s: MESSAGES at least, within the load's ceiling."""
    return min(max(load.duration_s, MESSAGES / rate), max(load.ceiling_s, load.duration_s))


def _scores(steps: Iterable[Step]) -> Counter[float]:
    """Rate → how many more of its trials kept the level than missed it."""
    found: Counter[float] = Counter()
    for step in steps:
        if step.decides:
            found[step.rate] += 1 if step.kept else -1
    return found


def _rounded(rate: float) -> float:
    """The rate with four significant digits."""
    return float(f"{rate:.4g}")
