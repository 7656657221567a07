"""stats.py: each rule against published values, against scipy, and against simulated truth.

The simulations have fixed seeds: they either hold or not, on every machine alike.
"""

import math

import numpy as np
import pytest
import scipy.stats
from draws import DISTRIBUTIONS, RUNS
from hypothesis import given
from hypothesis import strategies as st

from c10k.judge import samples, stats

pytestmark = pytest.mark.once

# The log of the ratio of any two finite positive floats is within this.
ratios = st.lists(st.floats(-1500, 1500), min_size=1, max_size=25)

# -- intervals -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("blocks", [3, 4, 5, 6, 7, 10, 20])
@pytest.mark.parametrize("confidence", [0.90, 0.95])
def test_the_interval_holds_its_rate(name: str, blocks: int, confidence: float) -> None:
    """For every number of blocks the true median is inside as often as is said, or more."""
    rng = np.random.default_rng([blocks, len(name)])
    held = 0
    for _ in range(RUNS):
        interval = stats.median_interval(0.3 + DISTRIBUTIONS[name](rng, blocks), confidence)
        held += interval.low <= 0.3 <= interval.high
    three_errors = 3 * math.sqrt(confidence * (1 - confidence) / RUNS)
    assert held / RUNS >= confidence - three_errors


def test_the_interval_is_not_wide_for_nothing() -> None:
    """Holding the rate by being vague would be easy: on normal values it is near Student's."""
    rng = np.random.default_rng(1)
    for blocks, most in [(5, 1.01), (7, 1.15), (10, 1.15), (20, 1.1)]:
        widths = []
        for _ in range(300):
            values = rng.normal(size=blocks)
            interval = stats.median_interval(values)
            error = values.std(ddof=1) / math.sqrt(blocks)
            student = 2 * scipy.stats.t.ppf(0.975, blocks - 1) * error
            widths.append((interval.high - interval.low) / student)
        assert np.median(widths) < most


def test_the_signed_rank_interval_of_a_textbook() -> None:
    """Hollander, Wolfe & Chicken, example 3.4 (Hamilton depression scale): (-0.786, -0.010)."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    change = [b - a for a, b in zip(before, after, strict=True)]
    interval = stats.median_interval(change, 1 - 0.0391)  # its exact level for 9 pairs
    assert (interval.low, interval.high) == pytest.approx((-0.786, -0.010), abs=5e-4)


def test_an_interval_may_use_its_whole_rate() -> None:
    """Five blocks' least and greatest hold the median in exactly 15 of 16 cases, no less."""
    interval = stats.median_interval([1.0, 2.0, 3.0, 4.0, 5.0], 15 / 16)
    assert (interval.low, interval.high) == (1.0, 5.0)


@pytest.mark.parametrize("blocks", [1, 2])
def test_too_few_blocks_say_nothing(blocks: int) -> None:
    """Two blocks give a median and an interval without ends, and nothing is claimed from it."""
    interval = stats.median_interval([5.0] * blocks)
    assert (interval.median, interval.low, interval.high) == (5.0, -math.inf, math.inf)
    (judged,) = stats.compare({"x": [5.0] * blocks}, noise=0.0, margin=0.1).values()
    assert judged.verdict == "not resolved"
    assert stats.compare({"x": []}, noise=0.0, margin=0.1) == {}
    with pytest.raises(ValueError, match="no blocks"):
        stats.median_interval([])


@given(values=ratios, confidence=st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_intervals_hold_their_median_whatever_comes(values: list[float], confidence: float) -> None:
    """No finite input crashes, gives NaN or leaves the median outside; order does not matter."""
    interval = stats.median_interval(values, confidence)
    assert interval.low <= interval.median <= interval.high
    assert interval == stats.median_interval(sorted(values), confidence)
    mirrored = stats.median_interval([-value for value in values], confidence)
    assert mirrored.low == pytest.approx(-interval.high, abs=1e-9)


def test_constant_blocks_have_an_interval_of_no_width() -> None:
    """What a bootstrap with bias correction answers with NaN."""
    for blocks in (3, 12):
        interval = stats.median_interval([0.1] * blocks)
        assert (interval.low, interval.high) == pytest.approx((0.1, 0.1))


def test_log_ratios_pair_by_block() -> None:
    """Blocks are paired by number; one in which either figure is missing or absurd is dropped."""
    values = {3: 8.0, 1: 2.0, 2: None, 4: 1.0, 5: -1.0, 6: 9.0, 7: math.inf}
    reference = {1: 1.0, 2: 1.0, 3: 2.0, 4: None, 5: 1.0, 7: 1.0}
    assert stats.log_ratios(values, reference) == pytest.approx((math.log(2), math.log(4)))


def test_a_zero_is_an_outcome() -> None:
    """Nothing done is the least of all, nothing done by either is a tie; neither is missing."""
    values = {1: 0.0, 2: 5672.0, 3: 0.0, 4: 6.0}
    reference = {1: 40_000.0, 2: 0.0, 3: 0.0, 4: 3.0}
    found = stats.log_ratios(values, reference)
    assert found == pytest.approx((-math.inf, math.inf, 0.0, math.log(2)))


@given(
    values=st.dictionaries(st.integers(0, 9), st.none() | st.floats()),
    reference=st.dictionaries(st.integers(0, 9), st.none() | st.floats()),
)
def test_log_ratios_are_numbers_whatever_comes(
    values: dict[int, float | None], reference: dict[int, float | None]
) -> None:
    """NaN, infinity and negative figures never reach the statistics."""
    found = stats.log_ratios(values, reference)
    assert not any(map(math.isnan, found))
    assert len(found) <= len(values.keys() & reference.keys())
    assert not math.isnan(stats.median(found or (0.0,)))


INF = math.inf


@pytest.mark.parametrize(
    ("values", "median", "low", "high"),
    [
        # Six of six below: the least and the greatest mean of two are left in, as without zeros.
        ([-INF, -0.5, -0.4, -0.3, -0.2, -0.1], -0.35, -INF, -0.1),
        # 8 means are left out at each end of ten blocks; a zero makes ten of them -inf. The ninth
        # greatest of the others is 0.7: 0.9, 0.85, 0.8 twice, 0.75 twice, 0.7 three times.
        ([-INF, *(0.1 * i for i in range(1, 10))], 0.45, -INF, 0.7),
        # 13 of twelve blocks: one zero, so twelve of -inf, are not enough, and 0.1 goes, too.
        ([-INF, *(0.1 * i for i in range(1, 12))], 0.55, 0.15, 0.8),
        ([-INF] * 6, -INF, -INF, -INF),
        ([-INF, -INF, -INF, INF, INF, INF], 0.0, -INF, INF),
        # Too few for the signed-rank interval, and Student's has no mean to stand on.
        ([-INF, 0.1, 0.1, 0.1, 0.1], 0.1, -INF, INF),
        ([-INF, -0.1, -INF, -INF, -0.2], -INF, -INF, INF),
    ],
)
def test_intervals_with_zeros(values: list[float], median: float, low: float, high: float) -> None:
    """Worked by hand: a zero is the most extreme value in the only interval there is."""
    interval = stats.median_interval(values)
    assert interval.median == pytest.approx(median)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_tests_with_zeros() -> None:
    """By ranks as the largest of all, in a tie with each other; by means not at all."""
    assert stats.wilcoxon([-INF, -0.5, -0.4, -0.3, -0.2, -0.1]) == 2 / 2**6
    # Ranks 1 to 4 up, 5 down: sums of at most 5 are 10 of the 32 ways to sign five ranks.
    assert stats.wilcoxon([-INF, 0.1, 0.2, 0.3, 0.4]) == pytest.approx(20 / 32)
    # Two zeros share the rank 4.5; 1 + 2 + 3 = 6 is below 9.
    assert stats.wilcoxon([-INF, -INF, 1, 2, 3]) == stats.wilcoxon([-9, -9, 1, 2, 3])
    assert stats.wilcoxon([-INF, INF]) == 1.0
    assert stats.t_test([-INF, -0.1, -0.2, -0.3]) == 1.0
    assert not stats.equivalent([-INF, *[0.0] * 4], 0.03)


def test_zeros_are_judged_by_the_rank_test_alone() -> None:
    """Six blocks, of which one is 0: slower by ranks. Five cannot tell, whatever they say."""
    six, five = [-INF, -1.0, -1.1, -1.2, -1.3, -1.4], [-INF, -1.0, -1.1, -1.2, -1.3]
    assert stats.compare({"x": six}, noise=0.1, margin=0.03)["x"].verdict == "slower"
    assert stats.compare({"x": five}, noise=0.1, margin=0.03)["x"].verdict == "not resolved"
    finite = stats.compare({"x": five[1:]}, noise=0.1, margin=0.03)["x"].verdict
    assert finite == "slower"  # what dropping the worst block used to make of it


# -- tests ---------------------------------------------------------------------------------


def test_wilcoxon_is_scipys() -> None:
    """Without ties, p is scipy's exact one."""
    rng = np.random.default_rng(2)
    for blocks in (3, 5, 8, 13, 25, 50):
        values = rng.normal(0.3, size=blocks)
        expected = scipy.stats.wilcoxon(values, method="exact").pvalue
        assert stats.wilcoxon(values) == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_with_ties_is_exact() -> None:
    """With ties and zeros p is that of all sign changes, which scipy enumerates for few blocks."""
    rng = np.random.default_rng(3)
    for values in rng.integers(-3, 5, size=(20, 10)):
        nonzero = values[values != 0]
        expected = scipy.stats.wilcoxon(nonzero, method=scipy.stats.PermutationMethod()).pvalue
        assert stats.wilcoxon(values) == pytest.approx(expected, rel=1e-9)
    assert stats.wilcoxon([0.0, 0.0, 0.0]) == 1.0
    assert stats.wilcoxon([]) == 1.0


def test_wilcoxon_cannot_be_less_than_its_number_of_blocks_allows() -> None:
    """Five blocks never reach 5 %, which is why compare() has another test for so few."""
    assert stats.wilcoxon([1, 2, 3, 4, 5]) == 0.0625
    assert stats.wilcoxon([1, 2, 3, 4, 5, 6]) == 0.03125


sizes = st.floats(1e-300, 1500)


@given(values=st.lists(sizes | sizes.map(lambda x: -x), min_size=6, max_size=20, unique_by=abs))
def test_interval_and_test_agree(values: list[float]) -> None:
    """The 95 % interval excludes 0 when, and only when, Wilcoxon's p is at most 5 %."""
    interval = stats.median_interval(values)
    assert interval.excludes_zero == (stats.wilcoxon(values) <= 0.05)


def test_t_test_is_scipys() -> None:
    """The fall-back for few blocks is the paired t-test as scipy has it."""
    for values in ([0.1, 0.2, 0.15], [0.1, -0.2, 0.3, 0.25], [3.0, 3.1, 2.9, 3.0, 3.2]):
        expected = scipy.stats.ttest_1samp(values, 0.0).pvalue
        assert stats.t_test(values) == pytest.approx(expected)
    assert stats.t_test([0.2, 0.2, 0.2]) == 0.0
    assert stats.t_test([0.0, 0.0, 0.0]) == 1.0
    assert stats.t_test([9.0, 9.1]) == 1.0


def test_holm_is_the_textbooks() -> None:
    """R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"), and order kept when unsorted."""
    assert stats.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx(
        (0.05, 0.08, 0.09, 0.09, 0.09)
    )
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert stats.holm([0.9, 0.8]) == (1.0, 1.0)
    assert stats.holm([]) == ()


def test_holm_shares_out_its_rate_by_weight() -> None:
    """Worked by hand: p × what is left of the weights ÷ its own, and never less than before it."""
    assert stats.holm([0.01, 0.02, 0.04], [0.5, 0.25, 0.25]) == pytest.approx((0.02, 0.04, 0.04))
    assert stats.holm([0.03, 0.01], [0.9, 0.1]) == pytest.approx((0.03 / 0.9, 0.03 / 0.9))
    even = stats.holm([0.04, 0.01, 0.03])
    assert stats.holm([0.04, 0.01, 0.03], [7, 7, 7]) == pytest.approx(even)


@given(ps=st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order(ps: list[float]) -> None:
    """Adjusting makes no p smaller, none larger than 1, and no two change places."""
    adjusted = stats.holm(ps)
    assert all(p <= a <= 1 for p, a in zip(ps, adjusted, strict=True))
    by_p = [a for _, a in sorted(zip(ps, adjusted, strict=True))]
    assert by_p == sorted(by_p)


@pytest.mark.parametrize("blocks", [4, 5, 10])
def test_equivalence_is_rarely_claimed_at_the_margin(blocks: int) -> None:
    """A true difference of just the margin passes for "same" in at most 5 % of sessions."""
    rng = np.random.default_rng(blocks)
    margin = 0.05
    claimed = sum(
        stats.equivalent(math.log1p(margin) + 0.01 * rng.normal(size=blocks), margin)
        for _ in range(RUNS)
    )
    assert claimed / RUNS <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)
    close = sum(stats.equivalent(0.01 * rng.normal(size=blocks), margin) for _ in range(200))
    assert close > 150  # and true equals are found


def test_equivalence_is_two_tests_of_five_percent() -> None:
    """It is the 90 % interval that must lie within the margin, not the 95 % one."""
    values = [-0.03, -0.01, 0.01, 0.03]  # Student's: ±0.030 at 90 %, ±0.041 at 95 %
    assert stats.equivalent(values, margin=0.035)
    assert not stats.equivalent(values, margin=0.030)


# -- slope ---------------------------------------------------------------------------------


def test_slope_is_scipys() -> None:
    """Least squares as scipy has it, with Student's interval."""
    xs, ys = [0, 100, 1000, 10_000], [5.0, 1010.0, 9900.0, 100_300.0]
    expected = scipy.stats.linregress(xs, ys)
    found = samples.slope(xs, ys)
    assert found is not None
    assert (found.per_x, found.intercept) == pytest.approx((expected.slope, expected.intercept))
    reach = scipy.stats.t.ppf(0.975, 2) * expected.stderr
    assert found.high - found.per_x == pytest.approx(reach)


@pytest.mark.parametrize("points", [3, 4, 10])
def test_the_slopes_interval_holds_its_rate(points: int) -> None:
    """Memory per client is inside its interval 95 % of the time, also with three counts."""
    rng = np.random.default_rng(points)
    xs = np.linspace(100, 10_000, points)
    held = 0
    for _ in range(RUNS):
        found = samples.slope(xs, 3.0 * xs + 500 * rng.normal(size=points))
        assert found is not None
        held += found.low <= 3.0 <= found.high
    assert held / RUNS >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / RUNS)


def test_a_slope_needs_two_places() -> None:
    """One client count has no slope; two have one, of unknown error; lengths must agree."""
    assert samples.slope([5, 5, 5], [1, 2, 3]) is None
    assert samples.slope([], []) is None
    assert samples.slope([0, 10], [1.0, 21.0]) == samples.FittedLine(2.0, -math.inf, math.inf, 1.0)
    with pytest.raises(ValueError, match="2 xs but 1 ys"):
        samples.slope([1, 2], [1])


# -- independent samples -------------------------------------------------------------------


def test_a_contrast_of_one_part_is_students_t() -> None:
    """With the error of a paired sample as its only part it says what the t-test says."""
    x = np.random.default_rng(4).normal(0.02, 0.03, 9)
    interval, p = stats.contrast(float(x.mean()), [(float(x.var(ddof=1)) / 9, 8)], 9)
    assert p == pytest.approx(stats.t_test(x.tolist()))
    assert (interval.high - interval.low) / 2 == pytest.approx(
        2.306 * float(x.std(ddof=1)) / 3, rel=1e-3
    )
    wider, later = stats.contrast(float(x.mean()), [(float(x.var(ddof=1)) / 9, 8), (0.001, 2)], 9)
    assert wider.low < interval.low
    assert later > p
    assert stats.contrast(0.0, [(0.0, 2)], 3) == (stats.Interval(0.0, 0.0, 0.0, 3), 1.0)


def test_welch_is_scipys() -> None:
    """The interval and p of two samples, by scipy's own Welch test."""
    rng = np.random.default_rng(4)
    before, after = rng.normal(1.0, 0.1, 7), rng.normal(1.2, 0.3, 5)
    interval, p = stats.welch(before, after)
    judged = scipy.stats.ttest_ind(after, before, equal_var=False)
    expected = judged.confidence_interval(0.95)
    assert p == pytest.approx(judged.pvalue)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_welch_says_nothing_of_too_few_and_knows_constants() -> None:
    """Fewer than three values have no interval; equal constants do not differ."""
    interval, p = stats.welch([1.0, 1.0], [2.0, 2.0, 2.0])
    assert (interval.low, interval.high, p) == (-math.inf, math.inf, 1.0)
    assert stats.welch([1.0] * 3, [1.0] * 3)[1] == 1.0
    assert stats.welch([1.0] * 3, [2.0] * 3)[1] == 0.0
    with pytest.raises(ValueError, match="no values"):
        stats.welch([], [1.0])
