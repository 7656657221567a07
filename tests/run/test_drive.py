"""Guards the driving of a load: the order of readings, silence in the slice, its length."""

import base64
import zlib

import made
import msgspec
import numpy as np
import pytest

from c10k.histograms import intervals, latencies
from c10k.run import drive, events, merge, worker_plans

NOTHING = intervals.encoded(100_000_000, np.zeros((1, 128), np.int64))


def result(**figures):
    """What a worker says at its end."""
    said = {
        "clients": 10,
        "count_square_sum": 1000,
        "count_sum": 100,
        "least_messages": 10,
        "messages": 100,
        "duration_ns": 2_000_000_000,
        "cpu_ns": 1_000_000_000,
        "lost": 0,
        "altered": 0,
        "faults": {},
        "errors": {},
        "clients_without_echo": 0,
        "latency": latencies.empty().encode().decode("ascii"),
        "latency_sum_ns": 20_000_000_000,
        "clients_answered": 10,
        "intervals": "",
        "stalls": [],
        "longest_stall_ns": 0,
        "longest_stall_at_ns": 0,
        "slice_s": 2.0,
        "slice_start_ns": 0,
        "bins": [],
        "peak_bytes": 0,
        **figures,
    }
    return msgspec.convert({"event": "result", **said}, events.ClosedResult)


CONNECTED = events.WorkerConnected(
    connected=10,
    served=10,
    failed={},
    connect_s=0.1,
    bytes_per_connection=2000.0,
    tls="",
    loops="C",
)


class Crew:
    """Workers that say what is scripted, one event at each asking; notes what it is told."""

    start_spread_s = None

    def __init__(self, load, said, notes, workers=1):
        whole = made.workload(["alpha"], [load], 1)
        shares = worker_plans.even(load.clients, workers)
        self.plans = worker_plans.plans(("127.0.0.1", 7000), whole, load, shares, 0)
        self.cores = [("", number) for number in range(workers)]
        self.script = list(said)
        self.notes = notes

    def said(self, timeout_s):
        if not self.script:
            return []
        event = self.script.pop(0)
        return [] if event is None else [event if isinstance(event, tuple) else (0, event)]

    def go(self):
        self.notes.append("go")

    def settle(self):
        self.notes.append("settle")

    def begin_slice(self, seconds):
        self.notes.append(("slice", seconds))

    def hosts(self, results):
        return ()


class Server:
    """Notes each reading; what it is asked in a slice stands between begin and end."""

    def __init__(self, notes):
        self.notes = notes

    def __getattr__(self, name):
        return lambda *_: self.notes.append(name)


@pytest.fixture
def driven():
    """driven(load, said) → (what came of it, the order in which all was told and read)."""

    def run(load, said, **options):
        notes = []
        seen = drive.drive(Crew(load, said, notes, **options), load, Server(notes))
        return seen, notes

    return run


def warmed(round_trip_s, slowest_s=0):
    return events.WorkerWarmed(
        round_trip_ns=int(round_trip_s * 1e9),
        slowest_ns=int(slowest_s * 1e9),
        elapsed_ns=0,
        messages=0,
    )


ENDED = events.WorkerEnded(start_ns=0, end_ns=2_000_000_000)


def test_everything_is_read_before_or_after_the_slice(driven):
    """Between the two readings of the CPU the engine reads nothing."""
    said = [CONNECTED, warmed(0.001), None, None, ENDED, result()]
    _, notes = driven(made.load(10), said)
    assert notes == [
        *("connected", "look", "go", "settle", "begin", ("slice", 2.0)),
        *("end", "loaded", "look"),
    ]


@pytest.mark.parametrize("kind", ["idle", "storm"])
def test_what_begins_at_once_is_read_before_it_is_told_to(driven, kind):
    """Where the slice begins with the go, the CPU is read before."""
    load = made.load(10, kind=kind)
    _, notes = driven(load, [CONNECTED, warmed(0), ENDED, result()])
    assert notes.index("begin") < notes.index("go")


def test_the_accept_queue_is_looked_at_only_where_clients_come(driven):
    """In storm and churn at each waking, in the other kinds never."""
    said = [CONNECTED, warmed(0.001), None, None, ENDED, result()]
    for kind in ("storm", "churn"):
        _, notes = driven(made.load(10, kind=kind), list(said))
        assert "look_at_queue" in notes
    for kind, more in (("closed", {}), ("open", {"rate": 100.0}), ("idle", {})):
        _, notes = driven(made.load(10, kind=kind, **more), list(said))
        assert "look_at_queue" not in notes


@pytest.mark.parametrize(
    ("round_trips_s", "slowest_s", "slice_s", "at_ceiling"),
    [
        ((0.001, 0.002), 0, 2.0, False),
        ((0.15, 0.1), 0, 3.0, False),
        ((0.15, 0.1), 8.0, 16.0, False),
        ((2.35, 2.3), 0, 47.0, False),
        ((5.0, 5.0), 0, 60.0, True),
    ],
)
def test_a_slice_lasts_twenty_of_the_longest_round_trips(
    driven, round_trips_s, slowest_s, slice_s, at_ceiling
):
    """Or twice the longest wait, within floor and ceiling; all workers are told the same."""
    said = [
        *((n, CONNECTED) for n in range(2)),
        *((n, warmed(each, slowest_s)) for n, each in enumerate(round_trips_s)),
        *((n, ENDED) for n in range(2)),
        *((n, result()) for n in range(2)),
    ]
    seen, notes = driven(made.load(10, duration_s=2.0), said, workers=2)
    assert ("slice", pytest.approx(slice_s)) in notes
    assert (seen.slice_s, seen.at_ceiling) == (pytest.approx(slice_s), at_ceiling)
    assert seen.round_trip_s == max(round_trips_s)


def test_an_open_loop_does_not_follow_round_trips(driven):
    """Its messages leave on a schedule; the slice is as long as the workload says."""
    load = made.load(10, kind="open", rate=100.0, duration_s=2.0)
    seen, notes = driven(load, [CONNECTED, warmed(5.0), ENDED, result()])
    assert (seen.slice_s, seen.round_trip_s) == (2.0, None)
    assert not any(isinstance(note, tuple) for note in notes)


def test_what_has_come_counts_however_late_it_is_read(driven, monkeypatch):
    """An engine that was stopped for an hour takes the results that are there."""
    now = iter(range(0, 10_000_000, 3600))
    monkeypatch.setattr(drive.time, "monotonic", lambda: float(next(now)))
    said = [CONNECTED, warmed(0.001), ENDED, result()]
    seen, _ = driven(made.load(10), said)
    assert seen.messages == 100


def test_silence_has_a_limit(driven, monkeypatch):
    """A worker that says nothing more fails the trial, with the word that was missed."""
    now = iter(range(0, 10_000_000, 5))
    monkeypatch.setattr(drive.time, "monotonic", lambda: float(next(now)))
    with pytest.raises(events.ClientFailed, match="did not report 'ended'"):
        driven(made.load(10), [CONNECTED, warmed(0.001)])


def test_littles_law_is_asked_of_the_clients_that_were_answered():
    """Rate × latency is the messages on their way: 1 in a steady slice, else too short."""
    steady = result(latency_sum_ns=20_000_000_000)  # 10 clients for 2 s
    assert merge.merge([steady], [("", 0)], 1).little == 1.0
    unfair = result(latency_sum_ns=10_000_000_000, clients_answered=5)
    assert merge.merge([steady, unfair], [("", 0), ("", 1)], 1).little == 1.0
    # curio at 19,900 clients: a slice of 2 s, in which few were answered after 2.8 s each
    short = result(latency_sum_ns=int(5 * 2.8e9), clients_answered=5)
    assert merge.merge([short], [("", 0)], 1).little == pytest.approx(1.4)
    deep = result(latency_sum_ns=40_000_000_000)
    assert merge.merge([deep], [("", 0)], 2).little == 1.0
    assert merge.merge([result(clients_answered=0)], [("", 0)], 1).little == 0.0


def test_a_stall_is_one_in_which_no_worker_had_an_echo():
    """What one of two workers calls a stall counts as far as the other agrees."""
    a = result(stalls=[[100_000_000, 50_000_000], [500_000_000, 40_000_000]])
    b = result(stalls=[[120_000_000, 50_000_000], [700_000_000, 40_000_000]])
    seen = merge.merge([a, b], [("", 0), ("", 1)], 1)
    assert (seen.stalls, seen.longest_stall_s, seen.longest_stall_at_s) == (1, 0.03, 0.12)
    alone = result(stalls=[], longest_stall_ns=3_000_000, longest_stall_at_ns=7)
    seen = merge.merge([alone], [("", 0)], 1)
    assert (seen.stalls, seen.longest_stall_s) == (0, 0.003)


def test_intervals_of_workers_add_up():
    """One row an interval, whoever saw it; unknown where a worker does not say."""
    counts = np.zeros((3, intervals.BUCKETS), np.int64)
    counts[0, 5] = counts[2, 9] = 7
    one, other = intervals.encoded(10**8, counts), intervals.encoded(10**8, counts[:2])
    width_ns, both = intervals.decoded(intervals.added([one, other]))
    assert width_ns == 10**8
    assert (both[0, 5], both[2, 9], both.sum()) == (14, 7, 21)
    assert intervals.added([one, ""]) == ""
    assert intervals.holding("", 1.0) is None


def test_how_many_intervals_hold_a_latency_or_more():
    """A latency is looked for in its own bucket and those beyond."""
    counts = np.zeros((4, intervals.BUCKETS), np.int64)
    for row, latency_ns in enumerate((50_000, 1_000_000, 20_000_000)):
        counts[row, intervals.bucket_of(latency_ns)] = 1
    text = intervals.encoded(10**8, counts)
    found = [intervals.holding(text, ns) for ns in (1, 50_000, 900_000, 10**7, 10**9)]
    assert found == [3, 3, 2, 1, 0]


@pytest.mark.parametrize(
    "text",
    [
        "x:AAAA",
        "100000000:*",
        "100000000:AAAA",
        "-5:" + base64.b64encode(zlib.compress(b"")).decode(),
        "100000000:" + base64.b64encode(zlib.compress(b"abc")).decode(),
    ],
)
def test_intervals_that_are_none_of_ours_are_named(text):
    """A session file is anybody's: one line, whatever it holds."""
    with pytest.raises(intervals.IntervalsError, match="cannot be read"):
        intervals.decoded(text)
