"""The rules that decide a claim: figures over repetitions, and what each part says of it."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from ..judge import stats
from ..model import ClaimFigure, ClaimPart, Decision, Outcome

# What was measured, as a text or as a (named) tuple → one value a repetition
Samples = Mapping[str | tuple[object, ...], Sequence[float]]
HOLDS = ("WORDS", "EXPERIMENT", "RULE", "measure", "decide")


def figure(
    name: str, values: Sequence[float], unit: str = "", *, most: float | None = None
) -> ClaimFigure | None:
    """The median of some repetitions and its 95 % interval; None without any.

    Where all values are above zero it is taken of their logarithms, as everywhere in this suite.
    most: the figure is a share (1) or a number out of so many (math.inf: of any), and cannot be
    below zero nor above that; see _within.
    """
    if not len(values):
        return None
    if len(set(values)) == 1 and len(values) >= stats.MIN_BLOCKS:
        return ClaimFigure(name, values[0], values[0], values[0], len(values), unit)
    if most is not None:
        low, high = _within(values, most)
        return ClaimFigure(name, statistics.median(values), low, high, len(values), unit)
    if min(values) > 0:
        found = stats.median_interval([math.log(value) for value in values])
        median, low, high = (
            math.exp(found.median),
            stats.undone(found.low),
            stats.undone(found.high),
        )
    else:
        found = stats.median_interval(values)
        median, low, high = found.median, found.low, found.high
    if found.blocks < stats.MIN_BLOCKS:
        low, high = None, None
    return ClaimFigure(name, median, low, high, found.blocks, unit)


def _within(values: Sequence[float], most: float) -> tuple[float | None, float | None]:
    """A 95 % interval of the median of what lies between 0 and most: none of it is outside.

    From six values on it has the k-th smallest and the k-th greatest as its ends (the interval
    of the sign test), which were seen, so they are possible. It asks nothing of how the values
    are spread; a share is often all or nothing. Below six no two of them hold the median 95 % of
    the time: Student's t interval stands in, cut to what is possible.
    """
    ordered, count = sorted(values), len(values)
    if count < stats.MIN_BLOCKS:
        return None, None
    beyond, chance = 0, 0.5**count  # that all of them lie on one side of the median
    while chance <= 0.025:
        beyond += 1
        chance += math.comb(count, beyond) * 0.5**count
    if beyond:
        return ordered[beyond - 1], ordered[count - beyond]
    found = stats.median_interval(ordered)
    return max(0.0, found.low), min(most, found.high)


def part(
    what: str,
    values: Sequence[float],
    *,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    unit: str = "",
    name: str = "",
    beside: Iterable[ClaimFigure | None] = (),
) -> ClaimPart:
    """One thing claimed: that a figure is above a bound, or below one.

    Supported when its whole interval is, refuted when none of it is, else not resolved.
    most: as for figure(). beside: figures that are shown with it and decide nothing.
    """
    if (above is None) == (below is None):
        raise ValueError("give one bound: above or below")
    main = figure(name or what, values, unit, most=most)
    decision: Decision = "not resolved"
    if main is not None and main.low is not None and main.high is not None:
        if above is not None:
            decision = side(main.low > above, main.high <= above)
        elif below is not None:
            decision = side(main.high < below, main.low >= below)
    return ClaimPart(what, decision, tuple(each for each in (main, *beside) if each is not None))


def always(
    what: str, seen: Sequence[float], *, name: str = "so", beside: Iterable[ClaimFigure | None] = ()
) -> ClaimPart:
    """One thing claimed that is so (not 0) or is not (0) at each repetition.

    Supported when it was so each time, refuted when never, else it depends; with fewer than
    stats.MIN_BLOCKS repetitions not resolved. name: what that is called.
    """
    count = len(seen)
    times = sum(map(bool, seen))
    decision: Decision = "not resolved"
    if count >= stats.MIN_BLOCKS:
        decision = side(times == count, times == 0)
        decision = "depends" if decision == "not resolved" else decision
    main = ClaimFigure(name, times, None, None, count, f"of {count} times")
    return ClaimPart(what, decision, (main, *(each for each in beside if each is not None)))


def side(holds: bool, fails: bool) -> Decision:
    """A decision from what is shown to hold and what is shown to fail."""
    if holds:
        return "supported"
    return "refuted" if fails else "not resolved"


def together(parts: Iterable[ClaimPart]) -> Decision:
    """What the parts say of the whole claim.

    Some supported and some refuted, or one that depends: it depends. All alike: that. Anything
    else is not resolved. Parts without a decision are shown for comparison and do not count.
    """
    found = {each.decision for each in parts} - {""}
    if {"supported", "refuted"} <= found or "depends" in found:
        return "depends"
    return found.pop() if len(found) == 1 else "not resolved"


def named(key: str | tuple[object, ...]) -> str:
    """The name that an outcome keeps for what was measured; no decision reads it back."""
    if isinstance(key, str):
        return key
    return " ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in key).rstrip()


def decided(name: str, claim: ModuleType, samples: Samples, **about: Any) -> Outcome:
    """What samples say of a claim."""
    parts = tuple(claim.decide(samples))
    words, experiment, rule = (
        " ".join(getattr(claim, each).split()) for each in ("WORDS", "EXPERIMENT", "RULE")
    )
    kept = {named(key): tuple(values) for key, values in samples.items()}
    return Outcome(name, words, experiment, rule, together(parts), parts, samples=kept, **about)
