"""Guards the client's histogram: HdrHistogram's own buckets, nothing lost."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from latencies import HIGHEST_NS, Latencies, bucket_of, value_of

durations = st.lists(st.integers(0, HIGHEST_NS), max_size=200)


@given(durations)
def test_it_decodes_to_what_hdrhistogram_itself_records(values):
    """The fast tally and the library's record_value give the same histogram."""
    ours, theirs = Latencies(), HdrHistogram(1, HIGHEST_NS, 3)
    for value in values:
        ours.note(value)
        theirs.record_value(value)
    decoded = HdrHistogram.decode(ours.encoded())
    assert decoded.get_total_count() == theirs.get_total_count() == len(values)
    for percent in (0, 50, 90, 99, 100):
        assert decoded.get_value_at_percentile(percent) == theirs.get_value_at_percentile(percent)


@given(durations, durations)
def test_tallying_in_between_changes_nothing(first, second):
    """However often it is tallied, the histogram is the same."""
    once, twice = Latencies(), Latencies()
    for value in first + second:
        once.note(value)
    for part in (first, second):
        for value in part:
            twice.note(value)
        twice.tally()
    assert once.encoded() == twice.encoded()
    assert twice.count == len(first) + len(second)


@given(st.integers(0, HIGHEST_NS))
def test_a_bucket_is_never_wider_than_a_thousandth(value):
    """Three significant digits: the bucket's lowest value is within 0.1 % of what fell in."""
    lowest = value_of(int(bucket_of(np.array([value]))[0]))
    assert lowest <= value
    assert value - lowest <= value / 1000


@pytest.mark.parametrize("value", [0, 1, 2047, 2048, 2**31, 2**31 - 1, HIGHEST_NS])
def test_edges_fall_where_they_should(value):
    """Powers of two and the ends of the range."""
    assert value_of(int(bucket_of(np.array([value]))[0])) in range(
        value - value // 1000 - 1, value + 1
    )


def test_longer_than_an_hour_counts_as_an_hour():
    """A value beyond the range is kept at the range's end, not dropped."""
    latencies = Latencies()
    latencies.note(10 * HIGHEST_NS)
    assert HdrHistogram.decode(latencies.encoded()).get_total_count() == 1


def test_clear_forgets_everything():
    """The warm-up's latencies leave no trace."""
    latencies = Latencies()
    latencies.note(5)
    latencies.tally()
    latencies.note(6)
    latencies.clear()
    assert latencies.tally() == 0
