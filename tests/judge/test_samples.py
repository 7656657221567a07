"""samples.py: what may be said of a percentile, outliers and warm-up, against simulated truth.

The simulations have fixed seeds.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k.judge import samples

pytestmark = pytest.mark.once


# -- describing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "q", "allowed"),
    [
        (200, 50, True),
        (199, 50, False),
        (10_000, 99, True),
        (9_999, 99, False),
        (100_000, 99.9, True),
        (99_999, 99.9, False),
        (1_000_000, 99.99, True),
        (0, 50, False),
    ],
)
def test_a_percentile_needs_a_hundred_samples_beyond(count: int, q: float, allowed: bool) -> None:
    """Exactly 100 suffice, 99 do not, also where 99.9 has no exact binary form."""
    assert samples.percentile_allowed(count, q) is allowed


@pytest.mark.parametrize(
    ("count", "intervals", "allowed"),
    [(10_000, 10, True), (10_000, 9, False), (10_000, None, True), (9_999, 200, False)],
)
def test_a_percentile_needs_ten_intervals_beyond(
    count: int, intervals: int | None, allowed: bool
) -> None:
    """A hundred late messages of one stall are one event; where it is known, ten are asked for."""
    assert samples.percentile_allowed(count, 99, intervals) is allowed


def stalled(
    rng: np.random.Generator, slice_s: float, stalls_per_s: float, stall_s: float, percent: float
) -> tuple[float, int]:
    """A percentile of one trial, s, and how many intervals hold a message beyond it.

    Poisson messages, 2,000/s, of 0.3 ms; at random times the server answers nobody for a while.
    """
    sent = np.sort(rng.uniform(0, slice_s, rng.poisson(2000 * slice_s)))
    stalls = rng.uniform(0, slice_s, rng.poisson(stalls_per_s * slice_s))
    latency = 3e-4 * np.exp(0.3 * rng.normal(size=len(sent)))
    for begun in stalls:
        first, last = np.searchsorted(sent, [begun, begun + stall_s])
        latency[first:last] += begun + stall_s - sent[first:last]
    value = float(np.percentile(latency, percent))
    came = ((sent + latency) // max(0.1, slice_s / 200))[latency >= value]
    return value, len(np.unique(came))


def spreads(
    least: int,
    *,
    slices_s: tuple[float, ...] = (2, 10, 30, 60),
    stalls_per_s: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5, 1, 2),
    rows: int = 40,
) -> list[float]:
    """Of servers that stall for 20 or 100 ms: how far rows of the same server spread, in times.

    A row is the median of five trials, and is there when at least so many intervals lie beyond
    in each of them. Its spread is the 90th over the 10th percentile of all such rows.
    """
    rng, found = np.random.default_rng(2), []
    for stall_s, percent, slice_s, often in itertools.product(
        (0.02, 0.1), (99, 99.9), slices_s, stalls_per_s
    ):
        trials = [stalled(rng, slice_s, often, stall_s, percent) for _ in range(5 * rows)]
        by_row = [trials[5 * i : 5 * i + 5] for i in range(rows)]
        told = [
            float(np.median([value for value, _ in row]))
            for row in by_row
            if min(held for _, held in row) >= least
        ]
        if len(told) >= rows / 10:
            found.append(float(np.percentile(told, 90) / np.percentile(told, 10)))
    return found


def test_ten_intervals_make_a_percentile_that_comes_again() -> None:
    """A percentile that the rule lets through is found again; one that it does not is a lottery.

    docs/method.md quotes spreads() with its own settings; these are fewer, for time.
    """
    few = {"slices_s": (2, 10), "stalls_per_s": (0.1, 0.5, 2), "rows": 20}
    free, ruled = spreads(1, **few), spreads(samples.MIN_INTERVALS_BEYOND, **few)  # type: ignore[arg-type]
    assert len(free) == 24
    assert max(free) > 50
    assert len(ruled) >= 4
    assert max(ruled) < 4


def test_outliers_are_marked() -> None:
    """One block far off is marked, ordinary spread is not, also where most blocks are equal."""
    steady = [10.0, 10.1, 9.9, 10.2, 9.8, 10.05, 9.95]
    assert samples.outliers([*steady, 20.0]) == (False,) * 7 + (True,)
    assert samples.outliers([*steady[:4], 20.0]) == (False,) * 5  # too few to say
    assert samples.outliers([1.0, 2.0, 3.0, 4.0]) == (False,) * 4
    assert samples.outliers([5.0] * 9 + [6.0]) == (False,) * 9 + (True,)
    assert samples.outliers([5.0, 5.0, 5.0]) == (False,) * 3
    assert samples.outliers([]) == ()


@given(values=st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_outliers_mark_each_value_and_never_most(values: list[float]) -> None:
    """One mark a value, and never more than half of them."""
    marks = samples.outliers(values)
    assert len(marks) == len(values)
    assert sum(marks) <= len(values) / 2


# -- warm-up -------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.01, 0.05])
@pytest.mark.parametrize("ramp", [20, 50])
def test_a_planted_warm_up_is_cut(ramp: int, noise: float) -> None:
    """A ramp from half speed over the first bins is cut, and little after it."""
    rng = np.random.default_rng(ramp)
    cuts = []
    for _ in range(200):
        bins = 1000 * (1 + noise * rng.normal(size=200))
        bins[:ramp] *= np.linspace(0.5, 1, ramp)
        cuts.append(samples.settled(bins))
    found = [cut for cut in cuts if cut is not None]
    assert len(found) >= 170
    assert ramp * 0.7 <= np.median(found) <= ramp + 10


@pytest.mark.parametrize(("bins", "share"), [(100, 0.15), (200, 0.10)])
def test_steady_noise_has_settled_from_the_start(bins: int, share: float) -> None:
    """Steady noise loses little, and is called unsettled no oftener than the docstring says."""
    rng = np.random.default_rng(bins)
    cuts = [samples.settled(1000 + 50 * rng.normal(size=bins)) for _ in range(300)]
    assert cuts.count(None) / len(cuts) <= share
    assert np.median([cut for cut in cuts if cut is not None]) <= 5


def test_a_run_that_never_settles_is_found_out() -> None:
    """A rate that climbs to the end, or falls, has no steady part."""
    rng = np.random.default_rng(4)
    noise = 1 + 0.02 * rng.normal(size=200)
    assert samples.settled(1000 * np.linspace(0.5, 1, 200) * noise) is None
    assert samples.settled(1000 * np.linspace(1, 0.5, 200) * noise) is None


def test_bins_that_fill_no_batch_are_the_first() -> None:
    """With 203 bins a cut falls on a batch counted from the end; steady bins are not cut."""
    assert samples.settled([7.0] * 203) == 0
    cut = samples.settled([0.0] * 10 + [7.0] * 193)
    assert cut == 13


@given(bins=st.lists(st.integers(0, 10**6), max_size=150))
def test_settled_survives_any_counts(bins: list[int]) -> None:
    """Too few bins to tell are None, a cut is a place within the first half, nothing crashes."""
    cut = samples.settled(bins)
    if len(bins) < samples.MIN_BINS:
        assert cut is None
    assert cut is None or 0 <= cut <= len(bins) / 2 + 5
