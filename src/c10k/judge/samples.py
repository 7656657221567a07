"""What the samples of one trial or row support: percentiles, outliers, settling, a slope. Pure."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from .stats import t_quantile

MIN_FOR_OUTLIERS = 8
MIN_SAMPLES_BEYOND = 100  # a percentile that is printed
MIN_INTERVALS_BEYOND = 10
MIN_BINS = 100  # fewer and settled() cannot tell
_BATCH = 5  # bins per batch, the 5 of MSER-5
_TAIL = 5  # batches at the end that settled() does not consider cutting


class FittedLine(msgspec.Struct, frozen=True):
    """A straight line's slope, in y's unit per x's, and its interval."""

    per_x: float
    low: float
    high: float
    intercept: float


def percentile_allowed(samples: int, percent: float, intervals: int | None = None) -> bool:
    """Whether enough lies beyond a percentile (0 to 100) to print it: 100 samples, 10 intervals.

    samples: how many there are in all. intervals: how many intervals of the slice, of some
    100 ms each, hold one beyond the percentile; None where that was not recorded, and then
    the samples decide alone.

    Samples are not independent: one stall of 20 ms makes 200 of 10,000 messages a second
    late, which is 1 % of two seconds and says nothing of how often it comes. Stalls, and so
    the intervals that they fall into, are what is independent. The 10 come from a simulation
    (docs/method.md, and the test beside this rule): with fewer, the same server's percentile
    is anything from trial to trial.
    """
    enough = round(samples * (100 - percent), 6) >= MIN_SAMPLES_BEYOND * 100
    return enough and (intervals is None or intervals >= MIN_INTERVALS_BEYOND)


def outliers(values: Sequence[float]) -> tuple[bool, ...]:
    """Marks values whose modified z-score is beyond 3.5; marked values stay in every figure.

    0.6745·|x - median| / MAD (Iglewicz & Hoaglin 1993). Where half of the values are
    equal, so that MAD is 0, the mean absolute deviation stands in:
    |x - median| / (1.2533·mean deviation). Of fewer than MIN_FOR_OUTLIERS nothing stands apart:
    among five values of a normal distribution one is beyond 3.5 in a third of all cases.
    """
    if len(values) < MIN_FOR_OUTLIERS:
        return (False,) * len(values)
    x = np.asarray(values, dtype=np.float64)
    away = np.abs(x - np.median(x))
    scale = float(np.median(away)) / 0.6745 or float(away.mean()) * 1.2533
    return tuple((away > 3.5 * scale).tolist())


def settled(bins: Sequence[float]) -> int | None:
    """The first bin from which a rate is steady; None when it never settles.

    bins: messages in each of at least MIN_BINS equal, short slices of time, from the
    start of the load on; with fewer nothing can be shown, and the answer is None.

    MSER-5 (White, Cobb & Spratt 2000): of all beginnings to cut off, in batches of five
    bins, the one that leaves the mean of the rest with the least squared standard error.
    As in Hoad, Robinson & Davies (2010) the last five batches are not considered, and a
    cut in the second half means that the run was too short to have settled. Steady noise
    is called unsettled in about 9 % of runs of 100 bins and 4 % of 200. It does not see a
    drift that is small beside the noise.
    """
    if len(bins) < MIN_BINS:
        return None
    x = np.asarray(bins, dtype=np.float64)
    first = len(x) % _BATCH  # the bins that fill no batch are the first to go
    batches = x[first:].reshape(-1, _BATCH).sum(axis=1)
    away = batches - batches[-1]  # sums of small numbers; a steady end has none
    left = np.arange(len(away), 0, -1)
    sums, squares = (np.cumsum(part[::-1])[::-1] for part in (away, np.square(away)))
    errors = (squares - np.square(sums) / left) / np.square(left)
    cut = int(np.argmin(errors[: len(batches) - _TAIL]))
    if cut > len(batches) / 2:
        return None
    return first + cut * _BATCH if cut else 0


def slope(xs: Sequence[float], ys: Sequence[float], confidence: float = 0.95) -> FittedLine | None:
    """The least-squares slope of ys over xs with Student's t interval, e.g. bytes a client.

    None when all xs are equal; infinite ends with fewer than three points. Not Theil-Sen:
    its interval held 66 % instead of 95 % with four points in simulation, this one 95 %.
    """
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} xs but {len(y)} ys")
    if len(x) < 2 or np.ptp(x) == 0:
        return None
    away = x - x.mean()
    spread = float(away @ away)
    per_x = float(away @ (y - y.mean())) / spread
    intercept = float(y.mean() - per_x * x.mean())
    if len(x) == 2:
        return FittedLine(per_x, -math.inf, math.inf, intercept)
    left = y - y.mean() - per_x * away
    error = math.sqrt(float(left @ left) / (len(x) - 2) / spread)
    reach = t_quantile((1 + confidence) / 2, len(x) - 2) * error
    return FittedLine(per_x, per_x - reach, per_x + reach, intercept)
