"""Guards the search for a capacity: it finds what was planted, and always ends."""

import random

import made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k.model import Step
from c10k.plan import capacity

pytestmark = pytest.mark.once

LOAD = made.load(100, kind="capacity", rate=1000.0, arrivals="poisson", p99_ms=10.0, within=0.03)


def searched(keeps, first=1000.0, near=False, load=LOAD):
    """The steps of a whole search; keeps(rate) → whether that trial kept the level."""
    steps = []
    while (rate := capacity.following(steps, first, load, near)) is not None:
        steps.append(Step(rate, keeps(rate)))
        assert len(steps) <= capacity.MOST_STEPS
    return steps


@given(st.floats(2, 5_000_000), st.floats(1, 5_000_000), st.booleans())
def test_a_planted_limit_is_found_to_within_what_was_asked(limit, first, near):
    """From any first rate, up or down; both ends are confirmed by a second trial."""
    steps = searched(lambda rate: rate <= limit, first, near)
    holds, fails = capacity.bracket(steps)
    assert holds <= limit < fails <= holds * 1.031
    rates = [step.rate for step in steps]
    assert rates.count(holds) >= capacity.CONFIRMED
    assert rates.count(fails) >= capacity.CONFIRMED


def test_from_a_rate_that_is_near_fewer_steps_are_made():
    """A later block begins where an earlier one ended."""
    far = searched(lambda rate: rate <= 50_000)
    near = searched(lambda rate: rate <= 50_000, first=49_000, near=True)
    assert len(near) < len(far)


@given(st.integers(0, 14))
def test_one_lucky_or_unlucky_trial_decides_nothing(wrong):
    """One trial, whichever it is, says the opposite of what is true."""
    tried = []

    def keeps(rate):
        tried.append(rate)
        return (rate <= 10_000) is (len(tried) - 1 != wrong)

    holds, fails = capacity.bracket(searched(keeps))
    assert holds <= 10_000 < fails


@given(st.integers(0, 2**32))
def test_a_server_whose_trials_contradict_each_other_ends_the_search(seed):
    """Coin tosses: the search stops by itself or at its bound."""
    draws = random.Random(seed)
    searched(lambda rate: draws.random() < 0.5)


def test_the_capacity_of_a_noisy_server_is_where_half_of_the_trials_keep_the_level():
    """A logistic curve of 3 % width around 10,000/s: 200 searches are right on the average."""
    draws = random.Random(1)

    def keeps(rate):
        return draws.random() < 1 / (1 + (rate / 10_000) ** 60)

    found = sorted(capacity.bracket(searched(keeps))[0] for _ in range(200))
    assert found[100] == pytest.approx(10_000, rel=0.03)
    assert found[10] == pytest.approx(10_000, rel=0.08)
    assert found[190] == pytest.approx(10_000, rel=0.08)


def test_a_server_that_never_keeps_the_level_is_tried_down_to_one_message_a_second():
    """Two trials at the least rate, then the end."""
    steps = searched(lambda rate: False)
    assert capacity.bracket(steps) == (None, 1.0)
    assert [step.rate for step in steps][-2:] == [1.0, 1.0]


def test_a_server_that_always_does_is_tried_up_to_the_greatest_rate():
    """Its capacity is a bound."""
    assert capacity.bracket(searched(lambda rate: True)) == (capacity.MOST_PER_S, None)


def test_rejected_steps_and_those_at_shares_decide_nothing():
    """Neither moves the search nor ends it."""
    steps = [Step(1000.0, True), Step(2000.0, None, why="steal"), Step(500.0, False, share=0.5)]
    assert capacity.bracket(steps) == (1000.0, None)
    assert capacity.following(steps, 1000.0, LOAD, near=False) == 2000.0


def test_a_slow_server_has_long_slices():
    """A p99 needs messages; no slice is longer than the load's ceiling."""
    load = made.load(100, kind="capacity", duration_s=3.0, ceiling_s=20.0)
    assert capacity.slice_s(load, 100_000) == 3.0
    assert capacity.slice_s(load, 1000) == 12.0
    assert capacity.slice_s(load, 10) == 20.0
