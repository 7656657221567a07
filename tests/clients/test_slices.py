"""Guards the slice: as long as its work needs, on time, in whole rounds, its stalls told.

The course is driven by a clock of the test's own, so that lengths are exact.
"""

import asyncio
import base64
import json
import zlib

import course
import numpy as np
import pytest
from conversations import Meter
from hypothesis import given
from hypothesis import strategies as st
from latencies import Latencies, coarse
from plan import Plan
from stalls import MOST, STALL_NS, Stalls

MS, S = 1_000_000, 1_000_000_000
QUICK = {"clients": 4, "warmup_s": 0.05, "duration_s": 0.3, "ceiling_s": 0.4, "drain_s": 0.5}


def intervals(text):
    """(width in ns, counts of shape (intervals, 128))."""
    width, _, packed = text.partition(":")
    counts = np.frombuffer(zlib.decompress(base64.b64decode(packed)), "<u4").reshape(-1, 128)
    return int(width), counts


class Load:
    """A course under a clock of its own; its loop's timers never run."""

    def __init__(self, monkeypatch, clients=10, *, by_rounds=True, **plan):
        self.now_ns, self.clients, self.said = 7 * S, clients, []
        monkeypatch.setattr(course, "clock", lambda: self.now_ns)
        monkeypatch.setattr(course, "say", lambda event, **more: self.said.append((event, more)))
        self.meter = Meter()
        made = Plan(port=1, **{"hold": True, "bins_ms": 20, **plan})
        self.course = course.Course(
            made, self, self.meter, self.count, lambda: self.clients, by_rounds=by_rounds
        )
        self.course.on_start = self.meter.latencies.clear
        self.course.begin()

    def count(self):
        return self.meter.latencies.ever

    def when_told(self, told):
        """The order that the course waits for; given by tell()."""
        self.told = told

    def look(self):
        """Nobody waits for the loop's turn here."""

    def tell(self, slice_s):
        self.told(json.dumps({"slice_s": slice_s}).encode() + b"\n")

    def echo(self, at_ns, latency_ns=MS):
        """What the hot path does with an echo."""
        self.now_ns = at_ns
        self.meter.latencies.note(latency_ns)
        self.meter.heard(at_ns)

    @property
    def event(self):
        return self.said[-1][0] if self.said else ""

    def until(self, event, gap_ns, most=1_000_000):
        """Echoes at this distance until the event is said."""
        for _ in range(most):
            if self.event == event:
                return
            self.echo(self.now_ns + gap_ns)
        raise AssertionError(f"no {event}")


@pytest.fixture
def load(monkeypatch):
    """load(...) → a Load; its loop never comes to its timers."""
    loops = []

    def make(*given, **plan):
        loop = asyncio.new_event_loop()
        loops.append(loop)
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
        return Load(monkeypatch, *given, **plan)

    yield make
    for loop in loops:
        loop.close()


# How long


@given(st.floats(0, 100), st.floats(0.01, 100), st.floats(0, 100), st.floats(0, 100))
def test_a_slice_is_twenty_round_trips_and_no_longer_than_the_ceiling(
    duration_s, ceiling_s, trip_s, slowest_s
):
    """Never shorter than the plan's duration, and beyond it only for round trips and waits."""
    plan = Plan(port=1, duration_s=duration_s, ceiling_s=ceiling_s)
    seconds = course.length_s(plan, trip_s * S, slowest_s * S)
    assert seconds >= duration_s
    assert seconds >= max(20 * trip_s, 2 * slowest_s) - 1e-6 or seconds >= ceiling_s
    assert seconds <= max(duration_s, ceiling_s)


def test_the_warm_up_is_three_rounds_or_more(load):
    """It goes on past its time until every client had three turns, on average."""
    made = load(10, warmup_s=0.1)
    made.until("warmed", 50 * MS)  # a round trip of 0.5 s
    said = made.said[0][1]
    assert said == {
        "messages": 30,
        "elapsed_ns": 1_500 * MS,
        "round_trip_ns": 500 * MS,
        "slowest_ns": 0,
    }


def test_the_warm_up_lasts_until_the_last_client_was_answered(load):
    """Who is starved waits for longer than the mean; the slice is to see such waits, too."""
    made = load(10, warmup_s=0.1, ceiling_s=60.0)
    made.course.all_answered = lambda: made.now_ns >= 7 * S + 5 * S
    made.until("warmed", 50 * MS)
    said = made.said[0][1]
    assert 4.9 * S <= said["elapsed_ns"] <= 5.3 * S
    assert said["slowest_ns"] == said["elapsed_ns"]


def test_who_is_never_answered_is_not_waited_for_ever(load):
    """A quarter of the ceiling, then the slice begins; it says that it saw no end of it."""
    made = load(10, warmup_s=0.1, ceiling_s=60.0)
    made.course.all_answered = lambda: False
    made.until("warmed", 50 * MS)
    assert 15 * S <= made.said[0][1]["slowest_ns"] <= 15.2 * S


def test_the_warm_up_is_no_longer_than_half_the_ceiling(load):
    """A server that says nothing: the timer ends it, and a round trip takes at least so long."""
    made = load(10, warmup_s=0.1, ceiling_s=8.0)
    made.now_ns += 4 * S
    made.course.ring(made.now_ns, 0, 0)  # what the timer does
    said = made.said[0][1]
    assert said == {
        "messages": 0,
        "elapsed_ns": 4 * S,
        "round_trip_ns": 4 * S,
        "slowest_ns": 0,
    }


# The end


def test_a_saturated_loop_ends_its_slice_on_time(load):
    """Echo upon echo, and never a timer: the slice still ends with the first whole round.

    The loop that starved its timers ended at the next multiple of 49,152 echoes.
    """
    made = load(10_000, warmup_s=0.5)
    made.until("warmed", 10_000)
    made.tell(2.0)
    made.until("ended", 10_000)
    assert made.course.messages % 10_000 == 0
    assert 2.0 <= made.course.duration_ns / S < 2.0 + 0.1  # a round takes 0.1 s


@pytest.mark.parametrize("phase_ms", [0, 3, 10, 100, 250, 499])
def test_a_lock_step_loop_is_measured_exactly(load, phase_ms):
    """All are answered together, every 0.5 s: 20 rounds, whatever moment the slice began at."""
    made = load(100, warmup_s=0.1)

    def round_of_echoes(number):
        for client in range(100):
            made.echo(7 * S + number * 500 * MS + client * 100_000)

    number = 1
    while made.event != "warmed":
        round_of_echoes(number)
        number += 1
    made.now_ns = 7 * S + (number - 1) * 500 * MS + 10 * MS + phase_ms * MS
    made.tell(10.0)
    while made.event != "ended":
        round_of_echoes(number)
        number += 1
    assert made.course.messages == 20 * 100
    assert made.course.duration_ns == pytest.approx(10 * S, rel=0.001)
    # By Little's law: every message waits for a round.
    _, said = made.said[-1]
    assert said["end_ns"] - said["start_ns"] == pytest.approx(10 * S, abs=501 * MS)


def test_a_slice_without_whole_rounds_ends_by_the_clock(load):
    """Clients come and go from the count: it ends when 2 % and 1.5 round trips have passed."""
    made = load(1_000_000, warmup_s=0.5, ceiling_s=1.0)
    made.until("warmed", MS)
    made.course.round_trip_ns = 10 * MS
    made.tell(2.0)
    made.until("ended", MS)
    assert 2.04 * S <= made.course.duration_ns <= 2.041 * S


def test_a_silent_server_ends_by_the_timer(load):
    """No echo rings: the timer does, and the whole slice is a stall."""
    made = load(10, warmup_s=0.1)
    made.until("warmed", 10 * MS)
    made.now_ns += 20 * S
    made.tell(2.0)
    start_ns = made.now_ns
    made.now_ns = made.course._latest_ns
    made.course.ring(made.now_ns, 0, 0)
    assert made.event == "ended"
    assert made.course.messages == 0
    assert made.said[-1][1]["start_ns"] == start_ns
    figures = made.course.figures()
    assert figures["longest_stall_ns"] == made.course.duration_ns
    assert figures["stalls"] == [(0, made.course.duration_ns)]
    assert intervals(figures["intervals"])[1].shape == (20, 128)


def test_without_rounds_the_clock_ends_it(load):
    """Churn: the first arrival past the end."""
    made = load(10, warmup_s=0.1, by_rounds=False)
    made.until("warmed", 3 * MS)
    made.tell(1.0)
    made.until("ended", 3 * MS)
    assert 1.0 * S <= made.course.duration_ns < 1.003 * S
    assert made.course.messages == 334


# What it tells


def test_bins_lie_on_a_grid_and_are_exact(load):
    """However far apart the echoes are, each reading is what had come by its bin's end."""
    made = load(1, warmup_s=0.1)
    made.until("warmed", 7 * MS)
    made.tell(0.5)
    made.echo(made.now_ns + 200 * MS)
    made.until("ended", 7 * MS)
    bins = made.course.figures()["bins"]
    assert [at_ns for at_ns, _ in bins[:-1]] == [20 * MS * n for n in range(1, len(bins))]
    assert bins[:5] == [(20 * MS, 2), (40 * MS, 5), (60 * MS, 8), (80 * MS, 11), (100 * MS, 14)]
    flat = {count for at_ns, count in bins if 105 * MS < at_ns < 305 * MS}
    assert len(flat) == 1
    assert bins[-1][1] == made.count()


def test_intervals_have_the_latencies_of_their_time(load):
    """By the time at which the echo came; four buckets a doubling; the sums are the slice's."""
    made = load(1, warmup_s=0.1)
    made.until("warmed", MS)
    made.tell(1.0)
    start_ns = made.now_ns
    for ms in range(1, 1000):
        made.echo(start_ns + ms * MS, 2048 if ms < 350 else 1024 * 2**7)
    made.until("ended", MS)
    width_ns, counts = intervals(made.course.figures()["intervals"])
    assert width_ns == 100 * MS
    assert counts.shape == (10, 128)
    assert counts.sum() == made.course.messages == 1000
    assert counts[:, 4].tolist() == [99, 100, 100, 50, 0, 0, 0, 0, 0, 0]
    assert counts[3, 28] == 50
    assert made.course.latency_sum_ns == 349 * 2048 + 650 * 1024 * 2**7 + MS


def test_a_long_slice_has_two_hundred_intervals(load):
    """The last one goes to the slice's end, and no sliver is left over."""
    made = load(1, warmup_s=0.1)
    made.until("warmed", 10 * MS)
    made.tell(60.0)
    made.until("ended", 33 * MS)
    width_ns, counts = intervals(made.course.figures()["intervals"])
    assert (width_ns, len(counts)) == (300 * MS, 200)
    assert counts.sum() == made.course.messages


@given(st.lists(st.integers(0, 2**45), max_size=50))
def test_coarse_buckets_are_quarters_of_doublings(values):
    """bucket = floor(4 log2(ns / 1024)), within 0 to 127."""
    counts = coarse(np.array(values, np.int64))
    wanted = np.zeros(128, int)
    for value in values:
        wanted[int(min(max(4 * np.log2(max(value, 1) / 1024), 0), 127))] += 1
    assert counts.tolist() == wanted.tolist()


def test_stalls_are_told_with_their_time_and_length(load):
    """Ten milliseconds or more each; the longest stretch of any length beside them."""
    made = load(1, warmup_s=0.1)
    made.until("warmed", MS)
    made.tell(1.0)
    start_ns = made.now_ns
    for at_ms in (1, 2, 32, 33, 41, 42, 342, 343, 353):
        made.echo(start_ns + at_ms * MS)
    made.until("ended", MS)
    figures = made.course.figures()
    assert figures["stalls"] == [(2 * MS, 30 * MS), (42 * MS, 300 * MS), (343 * MS, 10 * MS)]
    assert (figures["longest_stall_at_ns"], figures["longest_stall_ns"]) == (42 * MS, 300 * MS)


def test_a_stall_is_cut_to_the_slice(load):
    """What began before the slice began with it; what goes on at its end ends with it."""
    made = load(10, warmup_s=0.1, by_rounds=False)
    made.until("warmed", MS)
    made.now_ns += 50 * MS
    made.tell(1.0)
    start_ns = made.now_ns
    made.echo(start_ns + 20 * MS)
    made.now_ns = start_ns + 1 * S
    made.course.ring(made.now_ns, 0, 0)
    assert made.course.figures()["stalls"] == [(0, 20 * MS), (20 * MS, 980 * MS)]


@given(st.lists(st.integers(1, 100 * MS), max_size=2000))
def test_the_longest_stalls_are_kept(lengths):
    """A thousand at most; nothing that is worth noting goes unnoted."""
    stalls = Stalls()
    for at, length in enumerate(lengths):
        if length > stalls.notable_ns:  # what the hot path asks
            stalls.note(at, length)
    long = sorted((length for length in lengths if length >= STALL_NS), reverse=True)
    kept = [length for _, length in stalls.in_order()]
    assert sorted(kept, reverse=True) == long[:MOST]
    assert stalls.longest_ns == max(lengths, default=0)


def test_what_is_not_tallied_yet_falls_into_its_interval():
    """However late the tally comes, an interval has what was noted within it."""
    latencies = Latencies()
    latencies.note(1)
    latencies.clear()
    latencies.begin_intervals(100 * MS)
    for each in range(3):
        latencies.note(2048)
        latencies.note(4096)
        latencies.next_interval(each % 2)
    latencies.note(8192)
    _, counts = intervals(latencies.end_intervals())
    latencies.note(9)
    latencies.tally()
    assert counts[:, 4].tolist() == [1, 1, 1, 0]
    assert counts[:, 8].tolist() == [1, 0, 2, 0]
    assert counts[:, 12].tolist() == [0, 0, 0, 1]
