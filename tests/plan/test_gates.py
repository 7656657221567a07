"""Guards the gates: what rejects a trial, and that rejected trials are repeated and kept."""

import made
import pytest

from c10k.judge import judge
from c10k.model import Latency, Noise
from c10k.plan.gates import bound_by, gates
from c10k.run import session, store

IDLE = made.load(100, kind="idle")
OPEN = made.load(100, kind="open", rate=1000.0, arrivals="poisson")


def trial(load=None):
    return made.session(["alpha"], [load or made.load(100)], 1).plan.trials[0]


def latency(p99_us):
    return Latency(20_000, 1.0, 1.0, p99_us, None, p99_us)


def open_loop(**p99_us):
    """A trial of an open loop whose latencies have these p99s, in µs."""
    return made.ok(trial(OPEN), **{name: latency(us) for name, us in p99_us.items()})


def untold(p90_us):
    """Latencies of which too few lie beyond the p99."""
    return Latency(2_000, 1.0, p90_us, None, None, 10 * p90_us)


@pytest.mark.parametrize(
    ("measured", "kind"),
    [
        (made.ok(trial(), noise=Noise(steal_share=0.02)), "steal"),
        (made.ok(trial(), noise=Noise(others_cores=0.2)), "others"),
        (made.ok(trial(OPEN), rate_achieved=900.0), "rate"),
        (made.ok(trial(OPEN), noise=Noise(steal_share=0.005, watched_s=30.0)), "steal"),
        (made.ok(trial(OPEN), noise=Noise(others_cores=0.021, watched_s=30.0)), "others"),
        (made.ok(trial(OPEN), engine_cpu_s=0.005), "engine"),
        (made.ok(trial(), engine_cpu_s=0.03), "engine"),
        # the C floor's slices of 12.6 s instead of 2: the client's loop starved its timers
        (made.ok(trial(), slice_s=2.0, duration_s=12.6), "slice"),
        (made.ok(trial(OPEN), slice_s=2.0, duration_s=1.9), "slice"),
        (made.ok(trial(), slice_s=2.0, round_trip_s=0.1, duration_s=2.2), "slice"),
        # curio at 19,900 clients: a slice of 2 s, shorter than its round trip of 2.35 s
        (made.ok(trial(), little=1.4), "little"),
        (made.ok(trial(), little=0.0), "little"),
        # the suite was stopped for 1.5 s before it read the server's CPU at the slice's end
        (made.ok(trial(), read_s=3.5), "reading"),
    ],
)
def test_what_spoils_a_trial_is_named(measured, kind):
    """Each gate rejects with a reason that starts with its name."""
    (reason,) = gates(measured)
    assert reason.kind == kind
    assert str(reason).startswith(kind + ": ")


@pytest.mark.parametrize(
    "measured",
    [
        made.ok(trial()),
        made.ok(trial(), noise=Noise(steal_share=0.009, others_cores=0.04)),
        made.ok(trial(), client_cpu_share=0.99),
        made.ok(trial(), slice_s=2.0, round_trip_s=0.1, duration_s=2.14),
        # threads at 19,900 clients, silent for 31 s: a timer ended it, 29 ms too late
        made.ok(trial(), slice_s=30.0, round_trip_s=0.656, duration_s=31.0125),
        made.ok(trial(), little=1.04, engine_cpu_s=0.002, read_s=2.09),
        made.ok(trial(OPEN), noise=Noise(steal_share=0.0009, others_cores=0.004, watched_s=30.0)),
        # of a storm of 0.5 s three ticks are 6 %: less cannot be told from nothing
        made.ok(trial(made.load(100, kind="storm")), noise=Noise(0.05, 0.01, watched_s=0.5)),
        # what may all be one child that somebody waited for
        made.ok(trial(), noise=Noise(others_cores=0.06, others_within_cores=0.02)),
        made.ok(trial(OPEN), rate_achieved=980.0, latency=latency(100.0), schedule_lag=latency(11)),
        made.failed(trial()),
    ],
)
def test_what_does_not_spoil_it_passes(measured):
    """Under the thresholds, unknown, or bounded by the client: not gated."""
    assert gates(measured) == ()


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (made.ok(trial(), client_cpu_share=0.95), "client CPU"),
        (made.ok(trial(), client_cpu_share=0.85), ""),
        (made.ok(trial(), client_cpu_share=0.5, cpu_s=1.0, one_core=True), "client CPU"),
        # a core of both: its share is the core's, and it always takes from a p99
        (made.ok(trial(), client_cpu_share=0.95, cpu_s=1.0, shared_cores=(1,)), "client CPU"),
        (made.ok(trial(), client_cpu_share=0.85, cpu_s=3.0, shared_cores=(1,)), ""),
        # the server kept the core busy, and the clients took next to nothing of it
        (made.ok(trial(), client_cpu_share=0.95, shared_cores=(1,), client_cpu_s=0.08), ""),
        (
            made.ok(trial(), client_cpu_share=0.95, shared_cores=(1,), client_cpu_s=0.12),
            "client CPU",
        ),
        (made.ok(trial(OPEN), client_cpu_share=0.95, shared_cores=(1,)), "client CPU"),
        (made.ok(trial(OPEN), client_cpu_share=0.3, shared_cores=(1,)), "client CPU"),
        (made.ok(trial(OPEN), client_cpu_share=0.3), ""),
        (made.ok(trial(IDLE), client_cpu_share=0.95, shared_cores=(1,)), ""),
        (made.ok(trial(IDLE), client_cpu_share=0.95), ""),
        (made.ok(trial(OPEN), client_cpu_share=1.0), ""),
        (open_loop(latency=100.0, schedule_lag=11.0), "client lag"),
        (open_loop(latency=100.0, schedule_lag=9.0), ""),
        # on time, but late to read what has come: it sends with each echo that it reads
        (open_loop(latency=100.0, schedule_lag=1.0, read_lag=11.0), "client lag"),
        # what the latency surely was without the client's lateness says what that added to its p99
        (open_loop(latency=100.0, latency_least=92.0, schedule_lag=20.0), ""),
        (open_loop(latency=100.0, latency_least=90.0), "client lag"),
        # but messages that are later than half of their latency are not those that were planned
        (open_loop(latency=100.0, latency_least=95.0, schedule_lag=51.0), "client lag"),
        # a p99 that cannot be told does not hide a client that was late for a tenth of the messages
        (made.ok(trial(OPEN), latency=untold(100.0), read_lag=untold(11.0)), "client lag"),
        (made.ok(trial(OPEN), latency=untold(100.0), read_lag=latency(11.0)), ""),
        (made.ok(trial(OPEN), latency=latency(100.0), read_lag=untold(11.0)), ""),
        # a p99 is the worst hundredth: who takes half a hundredth of the time bounds it
        (made.ok(trial(OPEN), noise=Noise(others_cores=0.006, watched_s=30.0)), "others"),
        (made.ok(trial(OPEN), noise=Noise(others_cores=0.004, watched_s=30.0)), ""),
        (made.ok(trial(OPEN), noise=Noise(steal_share=0.002, watched_s=30.0)), "others"),
        (made.ok(trial(), noise=Noise(others_cores=0.02, watched_s=30.0)), ""),
    ],
)
def test_what_of_the_client_bounds_a_trial(measured, says):
    """A busy client in a closed loop, a late one in an open loop."""
    assert str(bound_by(measured) or "") == says


@pytest.fixture
def writer(tmp_path):
    """A session folder that is open for writing."""
    opened = store.create(tmp_path / "s", made.session())
    yield opened
    opened.close()


def planned(repeats=2):
    whole = made.session(["alpha", "beta"], [made.load(100)], 2).plan
    return made.replace(whole, workload=made.replace(whole.workload, repeats=repeats))


def spoilt(t):
    return made.ok(t, noise=Noise(others_cores=0.5))


@pytest.mark.parametrize("repeats", [0, 1, 2])
def test_a_gated_trial_is_repeated_so_often_and_all_are_kept(writer, repeats):
    """At most so many repeats, each attempt stored with its number and reason."""
    session.run(planned(repeats), spoilt, writer)
    kept = store.load(writer.folder).measurements
    assert [m.attempt for m in kept] == [n for n in range(repeats + 1) for _ in range(2)] * 2
    assert {m.trial for m in kept[: len(kept) // 2]} == set(planned().trials[:2])  # block by block
    assert all(m.gates for m in kept)


def test_what_would_be_gated_again_is_not_repeated(writer):
    """A slice that was too short for its server: one attempt, kept with its reason."""
    session.run(planned(2), lambda t: made.ok(t, little=0.7), writer)
    kept = store.load(writer.folder).measurements
    assert [m.attempt for m in kept] == [0] * 4
    assert all(m.gates[0].kind == "little" for m in kept)


def test_the_first_clean_attempt_ends_the_repeats(writer):
    """A disturbance that passes costs one attempt."""
    calls = []

    def execute(t):
        calls.append(t)
        return spoilt(t) if len(calls) == 1 else made.ok(t)

    session.run(planned(), execute, writer)
    kept = store.load(writer.folder).measurements
    assert [(m.attempt, bool(m.gates)) for m in kept] == [
        (0, True), (0, False), (1, False), (0, False), (0, False),
    ]  # fmt: skip
    first = planned().trials[0]
    assert [m.trial for m in kept] == [*planned().trials[:2], first, *planned().trials[2:]]


def test_resuming_makes_the_attempts_that_are_left(writer):
    """Interrupted between two attempts, a trial has the rest of them, not all again."""
    calls = []

    def execute(t):
        calls.append(t)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return spoilt(t)

    with pytest.raises(KeyboardInterrupt):
        session.run(planned(), execute, writer)
    done = store.load(writer.folder).measurements
    session.run(planned(), spoilt, writer, done=done)
    kept = store.load(writer.folder).measurements
    assert [m.attempt for m in kept] == [0, 1, 0, 2, 1, 2, 0, 0, 1, 1, 2, 2]
    assert [m.attempt for m in kept if m.trial == planned().trials[0]] == [0, 1, 2]


def test_a_disturbed_trial_is_repeated_at_the_end_of_its_block(writer):
    """What disturbed it may last; the block's other trials run first, and the next one waits."""
    first, second, *later = planned().trials
    seen = []

    def execute(t):
        seen.append(t)
        return spoilt(t) if t == first else made.ok(t)

    session.run(planned(), execute, writer)
    assert seen == [first, second, first, first, *later]
    kept = store.load(writer.folder).measurements
    assert [m.attempt for m in kept if m.trial == first] == [0, 1, 2]


def test_a_repeat_that_is_due_runs_when_the_session_is_resumed(writer):
    """An interrupt between a disturbed trial and its repeat loses neither."""
    first = planned().trials[0]
    done = [made.replace(spoilt(first), gates=(made.gate("others"),))]
    seen = []
    session.run(planned(), lambda t: (seen.append(t), made.ok(t))[1], writer, done=done)
    assert tuple(seen) == planned().trials
    kept = store.load(writer.folder).measurements
    assert [m.attempt for m in kept if m.trial == first] == [1]


def test_further_blocks_are_asked_for_until_there_are_none(writer):
    """more() is asked at the plan's end, and again after what it gave."""
    plan = planned(0)
    later = [made.replace(t, block=2) for t in plan.trials if t.block == 0]
    asked = [later, []]
    session.run(plan, made.ok, writer, more=lambda measured: asked.pop(0))
    assert asked == []
    assert [m.trial for m in store.load(writer.folder).measurements] == [*plan.trials, *later]


def test_a_gated_trial_does_not_count_and_the_session_says_so():
    """Figures come from the trials that stand; the table says how many did not."""

    def measure(t):
        return (
            made.replace(made.ok(t, rate=5.0), gates=(made.gate("steal"),))
            if t.block
            else made.ok(t)
        )

    judged = judge(made.session(["alpha"], [made.load(100)], 3, measure))
    (row,) = judged.rows
    assert (row.messages_per_s.least, row.blocks, row.gated) == (1000.0, 1, 2)
    assert any("2 of 3 trials were gated (steal 2)" in line for line in judged.warnings)


def test_where_all_are_gated_the_figures_are_shown_as_gated():
    """Nothing is hidden: the row has its figures, no block that counts, and no rank."""

    def measure(t):
        return made.replace(made.ok(t), gates=(made.gate("steal"),))

    (row,) = judge(made.session(["alpha"], [made.load(100)], 3, measure)).rows
    assert (row.status, row.blocks, row.gated, row.rank) == ("ok", 0, 3, None)
    assert row.messages_per_s.median == 1000.0
