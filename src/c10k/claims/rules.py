"""The rules that decide a claim's parts from repetitions, and the claim from its parts."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from ..judge import stats
from ..model import ClaimFigure, ClaimPart, Decision, Outcome

# What was measured, as a text or as a (named) tuple → one value per repetition
Samples = Mapping[str | tuple[object, ...], Sequence[float]]
HOLDS = ("WORDS", "EXPERIMENT", "RULE", "measure", "decide")


def figure(
    name: str, values: Sequence[float], unit: str = "", *, most: float | None = None
) -> ClaimFigure | None:
    """The median of the repetitions and its 95 % interval; None without repetitions.

    Where all values are above zero, the interval is that of their logarithms, as everywhere in
    this suite. most: the highest possible value of a figure that cannot be below zero: 1 for a
    share, the total for a count, math.inf for a count without a limit; see _within.
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
            stats.exp_or_none(found.low),
            stats.exp_or_none(found.high),
        )
    else:
        found = stats.median_interval(values)
        median, low, high = found.median, found.low, found.high
    if found.blocks < stats.MIN_BLOCKS:
        low, high = None, None
    return ClaimFigure(name, median, low, high, found.blocks, unit)


def _within(values: Sequence[float], most: float) -> tuple[float | None, float | None]:
    """A 95 % interval of the median that lies between 0 and most; (None, None) below 3 values.

    With six or more values its ends are the k-th smallest and the k-th greatest of them (the
    interval of the sign test), so both are possible values. It assumes nothing about the
    distribution; a share is often all or nothing. With fewer than six, no two values enclose
    the median 95 % of the time, so Student's t interval is used, cut to the possible values.
    """
    ordered, count = sorted(values), len(values)
    if count < stats.MIN_BLOCKS:
        return None, None
    beyond, chance = 0, 0.5**count  # probability that all lie above the median
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
    """A part that claims a figure to be above a bound, or below one.

    It is supported when the whole interval is on that side, refuted when none of it is, and
    otherwise not resolved. most: as for figure(). beside: figures that are shown with it, but
    decide nothing.
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
    """A part that claims something that is true (not 0) or false (0) in each repetition.

    It is supported when it was true each time, refuted when it never was, and otherwise
    depends. With fewer than stats.MIN_BLOCKS repetitions it is not resolved. name: the name of
    the figure that counts how often it was true. beside: as for part().
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
    """supported when it holds, refuted when it fails, not resolved when neither is shown."""
    if holds:
        return "supported"
    return "refuted" if fails else "not resolved"


def together(parts: Iterable[ClaimPart]) -> Decision:
    """The decision on a whole claim, from its parts.

    With both supported and refuted parts, or with one that depends, the claim depends. With
    all parts alike, it is decided like them. Otherwise it is not resolved. Parts without a
    decision are shown for comparison and do not count.
    """
    found = {each.decision for each in parts} - {""}
    if {"supported", "refuted"} <= found or "depends" in found:
        return "depends"
    return found.pop() if len(found) == 1 else "not resolved"


def named(key: str | tuple[object, ...]) -> str:
    """A sample's key as the text that an outcome keeps; decisions use the key itself."""
    if isinstance(key, str):
        return key
    return " ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in key).rstrip()


def decided(name: str, claim: ModuleType, samples: Samples, **about: Any) -> Outcome:
    """The outcome of a claim with these samples. about: further fields of the outcome."""
    parts = tuple(claim.decide(samples))
    words, experiment, rule = (
        " ".join(getattr(claim, each).split()) for each in ("WORDS", "EXPERIMENT", "RULE")
    )
    kept = {named(key): tuple(values) for key, values in samples.items()}
    return Outcome(name, words, experiment, rule, together(parts), parts, samples=kept, **about)
