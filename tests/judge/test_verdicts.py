"""stats.py: who is shown to be faster, and ranks, against simulated truth (fixed seeds)."""

import math

import numpy as np
import pytest
from draws import DISTRIBUTIONS, Draw
from hypothesis import given
from hypothesis import strategies as st

from c10k.judge import stats

pytestmark = pytest.mark.once

# The log of the ratio of any two finite positive floats is within this.
ratios = st.lists(st.floats(-1500, 1500), min_size=1, max_size=25)


def session(
    rng: np.random.Generator, draw: Draw, blocks: int, effects: list[float], noise: float
) -> tuple[dict[int, np.ndarray], float]:
    """The log-ratios of some servers to a reference, and the floor its control gives."""
    reference = noise * draw(rng, blocks)
    family = {i: e + noise * draw(rng, blocks) - reference for i, e in enumerate(effects)}
    control = stats.median_interval(noise * draw(rng, blocks) - reference)
    return family, stats.noise_floor(control)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("blocks", [3, 4, 6, 10])
def test_equals_are_seldom_told_apart(name: str, blocks: int) -> None:
    """Eight equal servers: a session with any false claim at all is rarer than 5 in 100."""
    rng = np.random.default_rng([blocks, len(name)])
    runs, wrong = 200, 0
    for _ in range(runs):
        family, floor = session(rng, DISTRIBUTIONS[name], blocks, [0.0] * 8, 0.02)
        judged = stats.compare(family, noise=floor, margin=0.03)
        wrong += any(c.verdict in ("faster", "slower") for c in judged.values())
    assert wrong / runs <= 0.05


def test_a_weight_is_a_share_of_the_rate() -> None:
    """What weighs more is claimed sooner, and each may have a noise floor of its own."""
    ratios = [0.10, 0.12, 0.09, 0.11, 0.07]  # p 0.0004 by Student's test
    family = {i: [0.01, -0.01, 0.02, -0.02, 0.0] for i in range(199)} | {"x": ratios}
    weights = dict.fromkeys(family, 1.0)

    def said(**changed: object) -> str:
        options = {"noise": 0.0, "margin": 0.03, "weights": weights, **changed}
        return stats.compare(family, **options)["x"].verdict  # type: ignore[arg-type]

    assert said() == "not resolved"
    assert said(weights=weights | {"x": 199.0}) == "faster"
    assert said(weights=weights | {"x": 199.0}, noise=dict.fromkeys(family, 0.2)) == "not resolved"


def test_true_differences_are_found() -> None:
    """5 % slower with 1 % noise a trial, among eight, is found in nine of ten sessions of six."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(200):
        family, floor = session(rng, DISTRIBUTIONS["normal"], 6, [-0.05] + [0.0] * 7, 0.01)
        found += stats.compare(family, noise=floor, margin=0.03)[0].verdict == "slower"
    assert found >= 180


CLEAR = stats.Interval(median=0.10, low=0.08, high=0.12, blocks=10)
VAGUE = stats.Interval(median=0.01, low=-0.01, high=0.03, blocks=10)


@pytest.mark.parametrize(
    ("interval", "p", "noise", "same", "more_is_better", "expected"),
    [
        (CLEAR, 0.01, 0.02, False, True, "faster"),
        (CLEAR, 0.01, 0.02, False, False, "slower"),  # a latency, a cost
        (CLEAR, 0.20, 0.02, False, True, "not resolved"),  # not after Holm
        (CLEAR, 0.01, 0.11, False, True, "not resolved"),  # within the control's noise
        (CLEAR, 0.01, math.inf, False, True, "not resolved"),  # no control
        (VAGUE, 0.01, 0.0, False, True, "not resolved"),
        (VAGUE, 0.30, 0.0, True, True, "same"),
        (CLEAR, 0.01, 0.02, True, True, "faster"),  # a difference comes before "same"
    ],
)
def test_a_verdict_needs_all_of_its_evidence(
    interval: stats.Interval,
    p: float,
    noise: float,
    same: bool,
    more_is_better: bool,
    expected: str,
) -> None:
    """Interval, adjusted p and noise floor must all agree; lacking one, nothing is claimed."""
    assert stats.verdict(interval, p, noise, same, more_is_better) == expected


@given(
    family=st.dictionaries(st.text(max_size=3), st.lists(st.floats(-1500, 1500), max_size=12)),
    noise=st.floats(0, 10),
)
def test_the_judge_survives_any_family(family: dict[str, list[float]], noise: float) -> None:
    """Any finite log-ratios: no crash, no NaN, and the same verdicts in another order."""
    judged = stats.compare(family, noise=noise, margin=0.03)
    assert judged.keys() == {key for key, values in family.items() if values}
    assert all(0 <= c.p_adjusted <= 1 for c in judged.values())
    backwards = {key: values[::-1] for key, values in reversed(family.items())}
    again = stats.compare(backwards, noise=noise, margin=0.03)
    assert {k: c.verdict for k, c in again.items()} == {k: c.verdict for k, c in judged.items()}


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=12))
def test_swapping_two_servers_swaps_the_verdict(values: list[float]) -> None:
    """A over B says faster exactly when B over A says slower."""
    swap = {"faster": "slower", "slower": "faster"}
    there = stats.compare({0: values}, noise=0.01, margin=0.03)[0].verdict
    back = stats.compare({0: [-v for v in values]}, noise=0.01, margin=0.03)[0].verdict
    assert back == swap.get(there, there)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([], {"a": (1, 3), "b": (1, 3), "c": (1, 3)}),
        ([("a", "b"), ("a", "c"), ("b", "c")], {"a": (1, 1), "b": (2, 2), "c": (3, 3)}),
        ([("a", "b"), ("a", "c")], {"a": (1, 1), "b": (2, 3), "c": (2, 3)}),
        ([("a", "c"), ("b", "c")], {"a": (1, 2), "b": (1, 2), "c": (3, 3)}),
        ([("a", "c")], {"a": (1, 2), "b": (1, 3), "c": (2, 3)}),
        # what follows from claims is claimed, and a circle cancels out
        ([("a", "b"), ("b", "c")], {"a": (1, 1), "b": (2, 2), "c": (3, 3)}),
        ([("a", "b"), ("b", "a")], {"a": (1, 3), "b": (1, 3), "c": (1, 3)}),
    ],
)
def test_ranks_are_one_more_than_those_shown_better(
    claims: list[tuple[str, str]], expected: dict[str, tuple[int, int]]
) -> None:
    """The best and the worst rank that the claims leave open; no claim, no order."""
    assert stats.ranks_with_ties("abc", claims) == expected


pairs = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=20)


@given(claims=pairs, order=st.permutations("abcdef"), seed=st.randoms())
def test_ranks_do_not_depend_on_the_order_of_the_input(
    claims: list[tuple[str, str]], order: list[str], seed: object
) -> None:
    """The same claims in any order give the same ranks, and some server is first."""
    found = stats.ranks_with_ties("abcdef", claims)
    seed.shuffle(claims)  # type: ignore[attr-defined]
    assert stats.ranks_with_ties(order, claims) == found
    assert min(best for best, _ in found.values()) == 1
    assert all(1 <= best <= worst <= 6 for best, worst in found.values())


@given(claims=pairs)
def test_whoever_is_shown_better_ranks_before(claims: list[tuple[str, str]]) -> None:
    """Whatever the claims, as long as they contain no circle, each is kept in the ranks."""
    claims = [(a, b) for a, b in claims if a < b]
    found = stats.ranks_with_ties("abcdef", claims)
    for better, worse in claims:
        assert all(a < b for a, b in zip(found[better], found[worse], strict=True))
