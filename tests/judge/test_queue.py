"""Guards the queue that servers are compared with, by what is known of M/D/1."""

import numpy as np
import pytest

from c10k.judge import queue, samples

pytestmark = pytest.mark.once


@pytest.mark.parametrize("busy", [0.1, 0.5, 0.9])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(busy):
    """The area beyond the distribution is busy / (2 (1 - busy)) service times."""
    at = np.linspace(0, 80, 4001)
    beyond = [1 - queue.waits_at_most(float(x), busy) for x in at]
    assert np.trapezoid(beyond, at) == pytest.approx(busy / (2 * (1 - busy)), rel=0.01)


def test_nobody_waits_with_the_probability_that_the_server_is_idle():
    """The distribution begins at 1 - busy."""
    assert queue.waits_at_most(0.0, 0.7) == pytest.approx(0.3)


@pytest.mark.parametrize("busy", [0.3, 0.8])
def test_the_p99_is_that_of_a_simulated_queue(busy):
    """Lindley's recursion over two million messages."""
    draws = np.random.default_rng(1)
    work = np.concatenate([[0], np.cumsum(1 - draws.exponential(1 / busy, 2_000_000))])
    waits = work - np.minimum.accumulate(work)
    assert queue.p99_services(busy) == pytest.approx(1 + np.percentile(waits, 99), rel=0.02)


def test_a_server_that_is_always_busy_has_no_p99():
    """The queue grows without end, or beyond what is looked for."""
    assert queue.p99_services(1.0) is None
    assert queue.p99_services(0.9999) is None
    assert queue.ideal_p99_us(20_000, 50) is None


def test_in_time_it_is_the_service_times_multiplied():
    """5,000/s of 100 µs each: half busy."""
    assert queue.ideal_p99_us(5000, 100) == pytest.approx(100 * queue.p99_services(0.5))


def test_a_further_value_lies_in_its_interval_as_often_as_it_says():
    """Simulated: three values, and one more, 4,000 times."""
    draws = np.random.default_rng(2)
    held = 0
    for _ in range(4000):
        *seen, more = np.exp(draws.normal(9, 0.05, 4))
        low, high = samples.further(seen)
        held += low <= more <= high
    assert held / 4000 == pytest.approx(0.95, abs=0.01)
    assert samples.further([10.0]) is None
