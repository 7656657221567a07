"""Rules for the samples of one trial or row: percentiles, outliers, settling, slope. Pure."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from .stats import t_quantile

MIN_FOR_OUTLIERS = 8
MIN_SAMPLES_BEYOND = 100  # samples beyond a percentile, for it to be printed
MIN_INTERVALS_BEYOND = 10  # intervals that hold one of these samples
MIN_BINS = 100  # with fewer, settled() cannot tell
_BATCH = 5  # bins per batch, the 5 of MSER-5
_TAIL = 5  # batches at the end that settled() does not consider cutting


class FittedLine(msgspec.Struct, frozen=True):
    """A straight line: its slope in y's unit per x's, with the slope's interval."""

    per_x: float
    low: float
    high: float
    intercept: float


def percentile_allowed(samples: int, percent: float, intervals: int | None = None) -> bool:
    """Whether enough lies beyond a percentile (0 to 100) to print it: 100 samples, 10 intervals.

    samples: the number of all samples. intervals: how many intervals of the slice, each of
    about 100 ms, hold a sample beyond the percentile. None where that was not recorded: then
    the samples alone decide.

    Samples are not independent. At 10,000 messages a second, one stall of 20 ms makes 200 of
    them late. That is 1 % of two seconds, and does not show how often stalls come. Stalls are
    independent, and so are the intervals that they fall into. The 10 comes from a simulation
    (docs/method.md, and the test of this rule): with fewer, the percentile of the same server
    varies wildly from trial to trial.
    """
    enough = round(samples * (100 - percent), 6) >= MIN_SAMPLES_BEYOND * 100
    return enough and (intervals is None or intervals >= MIN_INTERVALS_BEYOND)


def jain(total: float, squares: float, count: int) -> float | None:
    """Jain's index (Jain, Chiu & Hawe 1984): (sum x)^2 / (n sum x^2), 1 when all are equal.

    total, squares: the sums of count values and of their squares. None when all are 0.
    """
    return total * total / (count * squares) if squares else None


def further(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval that holds one further value with this confidence; None for fewer than two.

    A t interval of prediction for the logarithms: mean ± t · s · sqrt(1 + 1/n). All values are
    above 0.
    """
    if len(values) < 2:
        return None
    logs = np.log(np.asarray(values, dtype=np.float64))
    n = len(logs)
    half = t_quantile((1 + confidence) / 2, n - 1) * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / n)
    low, high = np.exp(logs.mean() - half), np.exp(logs.mean() + half)
    return (float(low), float(high)) if np.isfinite(high) else None


def outliers(values: Sequence[float]) -> tuple[bool, ...]:
    """Whether each value's modified z-score is beyond 3.5; such values stay in every figure.

    0.6745·|x - median| / MAD (Iglewicz & Hoaglin 1993). Where half of the values are
    equal, so that MAD is 0, the mean absolute deviation is used instead:
    |x - median| / (1.2533·mean deviation). With fewer than MIN_FOR_OUTLIERS values none is
    marked: of five normally distributed values one is beyond 3.5 in a third of all cases.
    """
    if len(values) < MIN_FOR_OUTLIERS:
        return (False,) * len(values)
    x = np.asarray(values, dtype=np.float64)
    away = np.abs(x - np.median(x))
    scale = float(np.median(away)) / 0.6745 or float(away.mean()) * 1.2533
    return tuple((away > 3.5 * scale).tolist())


def settled(bins: Sequence[float]) -> int | None:
    """The number of the first bin from which a rate is steady; None when it never settles.

    bins: the messages in equal, short stretches of time, from the start of the load. With
    fewer than MIN_BINS nothing can be shown, and None is returned.

    MSER-5 (White, Cobb & Spratt 2000): the beginning is cut off, in batches of five bins,
    where the mean of the rest has the least squared standard error. As in Hoad, Robinson &
    Davies (2010), the last five batches are not considered, and a cut in the second half
    means that the run was too short to have settled. Steady noise is called unsettled in
    about 9 % of runs of 100 bins and 4 % of 200. A drift that is small compared with the
    noise is not detected.
    """
    if len(bins) < MIN_BINS:
        return None
    x = np.asarray(bins, dtype=np.float64)
    first = len(x) % _BATCH  # the first bins are cut when they do not fill a batch
    batches = x[first:].reshape(-1, _BATCH).sum(axis=1)
    away = batches - batches[-1]  # keeps the sums small; 0 in a steady end
    left = np.arange(len(away), 0, -1)
    sums, squares = (np.cumsum(part[::-1])[::-1] for part in (away, np.square(away)))
    errors = (squares - np.square(sums) / left) / np.square(left)
    cut = int(np.argmin(errors[: len(batches) - _TAIL]))
    if cut > len(batches) / 2:
        return None
    return first + cut * _BATCH if cut else 0


def slope(xs: Sequence[float], ys: Sequence[float], confidence: float = 0.95) -> FittedLine | None:
    """The least-squares slope of ys over xs with Student's t interval, e.g. in bytes per client.

    None when all xs are equal; infinite ends with fewer than three points. Raises ValueError
    when xs and ys differ in length. Not Theil-Sen: in simulation with four points, its 95 %
    interval held the true slope in 66 % of the runs, this one in 95 %.
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
