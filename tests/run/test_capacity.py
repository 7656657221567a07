"""Guards a capacity's trial: its steps, what rejects them, and what becomes of them."""

import made
import pytest
from msgspec.structs import replace

from c10k.histograms import latencies
from c10k.judge import judge
from c10k.model import Latency, Noise, Trial
from c10k.plan import capacity as plan_capacity
from c10k.render import markdown
from c10k.run import capacity

pytestmark = pytest.mark.once

LOAD = made.load(
    100, kind="capacity", rate=1000.0, arrivals="poisson", p99_ms=10.0, within=0.1, shares=(0.5,)
)
TRIAL = Trial(0, 0, "alpha", LOAD)
STOLEN = Noise(steal_share=0.2, others_cores=0.0, watched_s=3.0)


def latency(us):
    histogram = latencies.empty()
    histogram.record_value(int(us * 1000), 20_000)
    text = histogram.encode().decode()
    return Latency(20_000, us, us, us, None, us, text)


def server(limit, log=None, **fields):
    """Executes open loops: 1 ms up to a limit, 50 ms beyond it."""

    def execute(trial):
        assert trial.load.kind == "open"
        assert trial.load.p99_ms == 0.0
        if log is not None:
            log.append(trial)
        us = 1000.0 if trial.load.rate <= limit else 50_000.0
        return made.ok(trial, trial.load.rate, latency=latency(us), **fields)

    return execute


def search(execute, trial=TRIAL, done=()):
    return capacity.Searching(execute, done, seed=1)(trial)


def test_the_trial_has_the_capacity_and_the_figures_of_a_step_at_it():
    """Its load is the capacity's again, and every step is kept."""
    found = search(server(30_000))
    assert found.trial == TRIAL
    assert found.accepted
    assert found.capacity_per_s <= 30_000 < found.fails_at_per_s <= 1.11 * found.capacity_per_s
    assert found.latency.p99_us == 1000.0
    assert found.messages_per_s == found.capacity_per_s
    assert not found.client_bound
    (half,) = [step for step in found.steps if step.share]
    assert half.rate == pytest.approx(found.capacity_per_s / 2)


def test_a_share_says_what_a_message_cost_there():
    """Here the server takes a second of CPU time in each slice, whatever its rate."""
    session = made.session(("alpha",), [LOAD], 3, lambda trial: search(server(30_000), trial))
    (row,) = judge(session).rows
    (half,) = row.over_load
    cost = row.server_cpu_us_per_message.median
    assert half.server_cpu_us_per_message.median == pytest.approx(2 * cost, rel=0.01)


def test_no_two_steps_have_the_same_schedule():
    """It is drawn from the block's number; that of the n-th step is the same for all servers."""
    log, other = [], []
    search(server(30_000, log))
    search(server(7_000, other), replace(TRIAL, server="beta", position=1))
    blocks = [trial.block for trial in log]
    assert len(set(blocks)) == len(blocks)
    both = min(len(log), len(other))
    assert [trial.block for trial in other][:both] == blocks[:both]


def test_a_later_block_begins_at_the_capacity_that_was_found():
    """Also after a resume: from what is stored."""
    log = []
    done = search(server(30_000))
    search(server(30_000, log), replace(TRIAL, block=1), [done])
    assert log[0].load.rate == pytest.approx(done.capacity_per_s, rel=capacity.MOVED)


def test_the_capacity_under_another_load_says_nothing():
    """A mix of slow requests and an echo may have as many clients."""
    log = []
    done = search(server(30_000))
    other = replace(TRIAL, block=1, load=replace(LOAD, message_bytes=16384))
    search(server(30_000, log), other, [done])
    assert log[0].load.rate == pytest.approx(LOAD.rate, rel=capacity.MOVED)


def test_equal_servers_do_not_always_end_at_the_same_rate():
    """Each search begins somewhere else, so that what lies between two rates shows as noise."""
    found = {
        search(server(30_000), replace(TRIAL, block=block)).capacity_per_s for block in range(8)
    }
    assert len(found) > 4
    again = search(server(30_000), replace(TRIAL, block=3)).capacity_per_s
    assert again == search(server(30_000), replace(TRIAL, block=3)).capacity_per_s


def test_a_disturbed_step_is_repeated_and_decides_nothing():
    """Each first attempt at a rate is disturbed, and slow."""
    calm, tried = server(30_000), set()

    def execute(trial):
        if trial.load.rate in tried:
            return calm(trial)
        tried.add(trial.load.rate)
        return made.ok(trial, latency=latency(90_000.0), noise=STOLEN)

    found = search(execute)
    assert found.capacity_per_s <= 30_000 < found.fails_at_per_s
    assert {step.why[:5] for step in found.steps if step.kept is None} == {"steal"}


def test_a_miss_that_others_may_have_caused_decides_nothing():
    """Too little for a gate, enough for a p99: what was kept counts, what was missed does not."""
    some = Noise(steal_share=0.003, others_cores=0.0, watched_s=60.0)
    kept = search(server(10_000_000, noise=some))
    assert kept.capacity_per_s > 1_000_000
    missed = search(server(30_000, noise=some))
    assert missed.capacity_per_s is None
    assert {step.kept for step in missed.steps[-capacity.REJECTED :]} == {None}


def test_where_all_steps_are_disturbed_the_trial_is_gated_and_may_be_repeated():
    """The gates are the step's."""
    found = search(server(30_000, noise=STOLEN))
    assert [gate.kind for gate in found.gates] == ["steal"]
    assert len(found.steps) == capacity.REJECTED
    assert found.capacity_per_s is None


def test_where_the_client_was_the_limit_the_capacity_is_a_bound():
    """It sent or read late by more than a tenth of the latency, or sent less than planned."""
    for late in ("schedule_lag", "read_lag"):
        bound = search(server(30_000, **{late: latency(40_000.0)}))
        assert bound.client_bound

    def slow(trial):
        sent = min(trial.load.rate, 20_000.0)
        return made.ok(trial, latency=latency(1000.0), rate_achieved=sent)

    found = search(slow)
    assert found.client_bound
    assert found.capacity_per_s <= 20_000 / 0.97


def test_a_server_that_keeps_the_level_at_no_rate_has_a_failed_row_with_the_reason():
    """It is not ranked."""
    found = search(server(0))
    assert found.status == "failed"
    assert found.reason == "no rate keeps the level: at 1 messages/s, p99 50 ms"


def test_a_server_that_fails_beyond_a_rate_has_a_capacity_below_it():
    """Lost echoes and dead servers miss the level like a long p99."""
    calm = server(30_000)

    def execute(trial):
        return calm(trial) if trial.load.rate <= 5000 else made.failed(trial)

    found = search(execute)
    assert found.status == "ok"
    assert found.capacity_per_s <= 5000
    missed = [step for step in found.steps if step.kept is False]
    assert {step.why for step in missed} == {"the server was killed by SIGKILL"}


def test_trials_that_disagree_for_ever_are_undecided(monkeypatch):
    """A failed row that says so."""
    monkeypatch.setattr(plan_capacity, "MOST_STEPS", 6)
    found = search(server(30_000_000))
    assert found.status == "failed"
    assert "undecided" in found.reason


def test_capacities_are_compared_and_shown_with_the_interval_of_a_further_search():
    """By block, like any figure; the table at shares has its line."""
    limits = {"alpha": 10_000, "beta": 20_000, "alpha-control": 10_000}

    def measure(trial):
        return search(server(limits[trial.server] * (1 + trial.block / 100)), trial)

    session = made.session(("alpha", "beta"), [LOAD], blocks=6, measure=measure, control=True)
    judged = judge(session)
    beta = next(row for row in judged.rows if row.server == "beta")
    assert (beta.verdict, beta.rank) == ("faster", 1)
    low, high = beta.capacity_interval
    assert low < 20_000 < high
    (half,) = beta.over_load
    assert (half.share, half.blocks, half.latency_p99_us.median) == (0.5, 6, 1000.0)
    text = markdown.render(judged)
    assert "capacity/s" in text
    assert "more" in text
    assert "Latency at shares of each server" in text


def shares_shown(measure):
    """The cells of the only line of the table at shares, of three blocks."""
    session = made.session(("alpha",), [LOAD], blocks=3, measure=measure)
    _, _, after = markdown.render(judge(session)).partition("Latency at shares of each server")
    (line,) = [line for line in after.splitlines() if " alpha " in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_latency_at_a_share_is_a_bound_where_the_client_was_late():
    """In any block, and although the level was kept."""

    def measure(trial):
        late = {"read_lag": latency(200.0)} if trial.block == 1 else {}
        return search(server(30_000, **late), trial)

    assert shares_shown(measure)[3:5] == ["≤ 1.00", "≤ 1.00"]
    assert shares_shown(lambda trial: search(server(30_000), trial))[3:5] == ["1.00", "1.00"]


def test_no_p99_at_a_share_where_a_block_has_none():
    """Those that have one may be the slow ones."""

    def measure(trial):
        found = search(server(30_000), trial)
        if trial.block < 2:
            return found
        steps = [replace(step, p99_us=None) if step.share else step for step in found.steps]
        return replace(found, steps=tuple(steps))

    assert shares_shown(measure)[3:5] == ["1.00", "–"]
