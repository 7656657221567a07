"""Guards the judge: medians over blocks, failures as rows, bounds said as bounds."""

from collections import Counter

import made
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k import machine
from c10k.judge import floor, judge, spread
from c10k.judge.figures import limiter
from c10k.model import Goal, Latency, Limiter, Measurement, ServerUse
from c10k.plan.precision import why_enough, widest


def one_row(measure, blocks=3):
    """The row of one server under one load."""
    judged = judge(made.session(["alpha"], [made.load(100)], blocks, measure))
    (row,) = judged.rows
    return row


def test_a_figure_is_the_median_over_blocks_with_its_range():
    """Per trial, then over blocks: never pooled, never the best."""
    rates = [900.0, 1000.0, 2000.0]
    row = one_row(lambda t: made.ok(t, rate=rates[t.block]))
    seen = row.messages_per_s
    assert (seen.median, seen.least, seen.greatest) == (1000.0, 900.0, 2000.0)
    assert row.blocks == 3


def test_cost_and_memory_are_what_arithmetic_says():
    """CPU seconds over messages; growth of memory over clients."""
    row = one_row(lambda t: made.ok(t, rate=500.0, cpu_s=1.0, client_cpu_share=0.2))
    assert row.server_cpu_us_per_message.median == pytest.approx(1000.0)
    assert row.client_cpu_us_per_message.median == pytest.approx(400.0)
    assert row.memory_per_client_bytes.median == 4096


def test_a_client_that_was_busy_bounds_the_rate():
    """Above nine tenths of a core the client is the limit, and the row says at least."""
    row = one_row(lambda t: made.ok(t, client_cpu_share=0.95))
    assert row.bound
    assert row.limiters == (Limiter("client CPU"),)
    judged = judge(made.session(measure=lambda t: made.ok(t, client_cpu_share=0.95)))
    assert any(line.startswith("≥") for line in judged.warnings)


@pytest.mark.parametrize(
    ("client_share", "server_s", "says"),
    [(0.5, 1.9, "server CPU"), (0.95, 1.9, "client CPU"), (0.5, 0.2, "nothing found")],
)
def test_the_limiter_is_named(client_share, server_s, says):
    """What stopped a trial from going faster."""
    trial = made.session().plan.trials[0]
    found = limiter(made.ok(trial, cpu_s=server_s, client_cpu_share=client_share))
    assert found == Limiter(says)


def test_a_failure_keeps_its_row_and_reason():
    """One bad block of three: the row is failed, says which, and keeps the good figures."""
    row = one_row(lambda t: made.failed(t, "it died") if t.block == 1 else made.ok(t))
    assert (row.status, row.reason, row.blocks) == ("failed", "block 2: it died", 2)
    assert row.messages_per_s.median == 1000.0


def test_past_its_limit_a_server_shows_what_it_did():
    """All blocks incomplete: how many were served, and the figures of those."""
    row = one_row(
        lambda t: made.ok(t, status="failed", reason="80 of 100 clients served", served=80)
    )
    assert (row.status, row.served) == ("failed", 80)
    assert row.messages_per_s is not None


def test_what_cannot_run_is_a_row():
    """A missing framework has its row, with what to do."""
    row = one_row(lambda t: made.failed(t, "pip install trio", "not run"))
    assert (row.status, row.reason) == ("not run", "pip install trio")
    assert row.messages_per_s is None


def test_an_unfinished_session_says_so():
    """What was measured is shown, with how much is missing."""
    whole = made.session()
    cut = msgspec.structs.replace(whole, measurements=whole.measurements[:3])
    judged = judge(cut)
    assert not judged.finished
    assert "5 of 8 trials" in judged.warnings[0]
    assert judge(whole).finished


@given(st.lists(st.floats(-1e300, 1e300), min_size=1))
def test_a_spread_holds_its_values(values):
    """Least ≤ median ≤ greatest, and None is not counted as a value."""
    seen = spread([None, *values])
    assert seen.least <= seen.median <= seen.greatest
    assert spread([None]) is None


numbers = st.none() | st.integers(0, 10**9)
figures = st.none() | st.floats(0, 1e12)


@given(st.data())
def test_no_measurement_crashes_the_judge(data):
    """Whatever is unknown or absurd in a measurement, there is a row for each cell."""

    def anything(trial):
        draw = data.draw
        return Measurement(
            trial,
            draw(st.sampled_from(["ok", "failed", "not run"])),
            draw(st.text(max_size=5)),
            connected=draw(numbers),
            served=draw(numbers),
            messages=draw(numbers),
            messages_per_s=draw(figures),
            duration_s=draw(figures),
            client_cpu_share=draw(figures),
            lost=draw(numbers),
            errors=draw(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2)),
            server=ServerUse(
                cpu_s=draw(figures),
                before=made.memory(draw(st.integers(0, 10**9))),
                after=made.memory(draw(st.integers(0, 10**9))),
                threads_max=draw(numbers),
                descriptors_max=draw(numbers),
            ),
        )

    session = made.session(measure=anything)
    rows = judge(session).rows
    cells = Counter((t.server, t.load.clients) for t in session.plan.trials)
    assert {(row.server, row.clients) for row in rows} == set(cells)


def raced(rates, blocks=8, noise=0.005, seed=0, **fields):
    """A session in which each server has its true rate, with noise by trial and by block."""
    draw = np.random.default_rng(seed)
    drift = draw.normal(0, 0.05, blocks)

    def measure(trial):
        rate = rates[trial.server.removesuffix("-control")]
        rate *= np.exp(drift[trial.block] + draw.normal(0, noise))
        return made.ok(trial, rate=float(rate), **fields.get(trial.server, {}))

    return judge(made.session(list(rates), [made.load(100)], blocks, measure, control=True))


def test_planted_differences_are_found_and_ranked():
    """10 % apart with 0.5 % noise: the verdicts, ratios and ranks are the planted ones."""
    rows = {r.server: r for r in raced({"alpha": 1e5, "beta": 1.1e5, "gamma": 0.9e5}).rows}
    assert rows["beta"].verdict == "faster"
    assert rows["gamma"].verdict == "slower"
    assert rows["beta"].ratio.low < 1.1 < rows["beta"].ratio.high
    assert [rows[name].rank for name in ("beta", "alpha", "gamma")] == [1, 2, 3]
    assert all(row.rank == row.rank_worst for row in rows.values())
    assert rows["alpha"].verdict is None
    assert rows["alpha-control"].rank is None


def test_equal_servers_tie():
    """No planted difference: none is claimed, all share the first rank, in most sessions."""
    claimed = 0
    for seed in range(20):
        rows = raced({"alpha": 1e5, "beta": 1e5, "gamma": 1e5}, seed=seed).rows
        claimed += any(row.verdict in ("faster", "slower") for row in rows)
    assert claimed <= 2


def test_nothing_within_the_noise_floor_is_claimed():
    """A difference smaller than what the control shows against itself is not resolved."""
    draw = np.random.default_rng(3)

    def measure(trial):
        off = {"alpha": 0.0, "alpha-control": 0.04, "beta": 0.03}[trial.server]
        return made.ok(trial, rate=float(1e5 * np.exp(off + draw.normal(0, 0.002))))

    judged = judge(made.session(["alpha", "beta"], [made.load(100)], 10, measure, control=True))
    rows = {row.server: row for row in judged.rows}
    assert rows["beta"].verdict not in ("faster", "slower")
    (floor,) = judged.noise
    assert floor.ratio.low < 1.04 < floor.ratio.high


def test_bounds_are_not_ordered():
    """Two servers that the client bounded tie, whatever their figures say."""
    bound = {"client_cpu_share": 0.99}
    judged = raced({"alpha": 1e5, "beta": 2e5}, alpha=bound, beta=bound)
    rows = {row.server: row for row in judged.rows}
    assert rows["beta"].verdict == "not resolved"
    assert rows["alpha"].rank == rows["beta"].rank == 1
    one = raced({"alpha": 1e5, "beta": 2e5}, beta=bound)
    assert {row.server: row.verdict for row in one.rows}["beta"] == "faster"


def test_a_late_client_bounds_an_open_loop():
    """A schedule's lag above a tenth of the latency is part of it: at most so much, and tied."""
    late = Latency(20_000, 1.0, 1.0, 400.0, None, 400.0)
    load = made.load(100, kind="open", rate=1000.0, arrivals="poisson")

    def measure(trial):
        p99 = {"alpha": 1000.0, "beta": 2000.0}[trial.server.removesuffix("-control")]
        p99 *= 1 + 0.001 * trial.block
        latency = Latency(20_000, 1.0, 1.0, p99, None, p99)
        return made.ok(trial, latency=latency, schedule_lag=late)

    judged = judge(made.session(["alpha", "beta"], [load], 8, measure, control=True))
    rows = {row.server: row for row in judged.rows}
    assert rows["beta"].bound
    assert rows["beta"].limiters == (Limiter("client lag"),)
    assert (rows["alpha"].rank, rows["beta"].rank) == (1, 1)
    assert rows["beta"].verdict == "not resolved"


def test_on_one_core_client_and_server_bound_each_other():
    """What the client takes of a shared core the server cannot have."""
    row = one_row(lambda t: made.ok(t, cpu_s=1.1, client_cpu_share=0.4, one_core=True))
    assert row.bound
    assert row.limiters == (Limiter("client CPU"),)
    assert not one_row(lambda t: made.ok(t, cpu_s=1.1, client_cpu_share=0.4)).bound


def test_a_shared_core_is_named_before_the_numbers():
    """One sentence for the session, and who was where; nothing of it where nothing is shared."""
    pinned = "server on cores 0, 1; clients on core 1"
    session = made.session(
        measure=lambda t: made.ok(t, shared_cores=(1,), pinned=pinned, client_cpu_share=0.95)
    )
    judged = judge(session)
    assert sum("share core 1, so the clients' work takes from" in w for w in judged.warnings) == 1
    assert all(row.bound for row in judged.rows)
    asked = made.replace(session.plan.workload, server_cores=2)
    told = made.replace(session, plan=made.replace(session.plan, workload=asked))
    assert pinned in judge(told).warnings
    assert not any("core" in line for line in judge(made.session()).warnings)


def test_hyper_threads_of_the_servers_core_are_named_before_the_numbers():
    """The clients' work takes from the server's there as well, though nobody can say how much."""
    pinned = machine.pinning([0, 1], [(0, 1)]).note
    judged = judge(made.session(measure=lambda t: made.ok(t, pinned=pinned)))
    assert pinned in judged.warnings


def test_a_storm_is_bound_by_a_client_that_was_less_busy():
    """Its slice holds the wait for the last echo; one share, one word, for every server."""
    storm = made.load(100, kind="storm")

    def bound(share, load):
        judged = judge(made.session(["a"], [load], 3, lambda t: made.ok(t, client_cpu_share=share)))
        return judged.rows[0].bound

    assert bound(0.84, storm)
    assert not bound(0.75, storm)
    assert not bound(0.84, made.load(100))


def test_who_failed_is_compared_with_nobody():
    """One bad block of eight: shown, with how many were good; no ratio, no cost, in no rank."""

    def measure(trial):
        name = trial.server.removesuffix("-control")
        if name == "gamma" and trial.block == 2:
            return made.failed(trial)
        rate = {"alpha": 1e5, "beta": 1.2e5, "gamma": 9e5, "floor": 2e5}[name]
        return made.ok(trial, rate=rate * (1 + 0.001 * trial.block))

    names, loads = ["alpha", "beta", "gamma", "floor"], [made.load(100)]
    session = made.session(names, loads, 8, measure, control=True, floor={"tier": "floor"})
    rows = {row.server: row for row in judge(session).rows}
    row = rows["gamma"]
    assert (row.status, row.blocks, row.blocks_run) == ("failed", 7, 8)
    assert row.messages_per_s.median > 8e5
    assert (row.ratio, row.verdict, row.rank, row.cpu_over_floor) == (None, None, None, None)
    assert [rows[name].rank for name in ("floor", "beta", "alpha")] == [1, 2, 3]
    assert [rows[name].rank_worst for name in ("floor", "beta", "alpha")] == [1, 2, 3]


def test_gated_rows_have_no_verdict_and_say_why():
    """Every attempt was rejected: figures are shown, compared with nothing, with the reason."""

    def measure(trial):
        gates = (made.gate("little", "slice too short"),) if trial.server == "beta" else ()
        return made.ok(trial, gates=gates)

    judged = judge(made.session(["alpha", "beta"], [made.load(100)], 6, measure, control=True))
    row = next(row for row in judged.rows if row.server == "beta")
    assert (row.status, row.blocks, row.blocks_run, row.gated) == ("ok", 0, 6, 6)
    assert (row.ratio, row.verdict, row.rank) == (None, None, None)
    assert "block 1: little: slice too short" in row.reason


def test_a_reference_that_failed_leaves_no_ratios_and_says_so():
    """Under that load only; under the other all is as ever."""

    def measure(trial):
        if trial.server == "alpha" and trial.load.clients == 200 and trial.block == 0:
            return made.failed(trial)
        return made.ok(trial, rate=2e5 if trial.server == "beta" else 1e5)

    judged = judge(
        made.session(["alpha", "beta"], [made.load(100), made.load(200)], 8, measure, control=True)
    )
    beta = {row.clients: row for row in judged.rows if row.server == "beta"}
    assert (beta[200].ratio, beta[200].verdict, beta[200].rank) == (None, None, None)
    assert beta[100].verdict == "faster"
    (said,) = [line for line in judged.warnings if "no ratio" in line]
    assert "alpha" in said
    assert said.endswith(": closed 64 B at 200")


def test_a_zero_is_the_worst_that_a_server_can_do():
    """It answered nobody in three of eight blocks: not left out, and slower for it."""

    def measure(trial):
        rate = 1e5 * (1 + 0.01 * trial.block)
        if trial.server == "beta":
            rate = 0.0 if trial.block < 3 else 6e3
        return made.ok(trial, rate=rate)

    judged = judge(made.session(["alpha", "beta"], [made.load(100)], 8, measure, control=True))
    row = next(row for row in judged.rows if row.server == "beta")
    assert (row.ratio.low, row.ratio.blocks, row.verdict) == (None, 8, "slower")
    assert 0 < row.ratio.median < row.ratio.high < 0.07
    assert widest(judged) == float("inf")
    never = judge(
        made.session(
            ["alpha", "beta"],
            [made.load(100)],
            8,
            lambda t: made.ok(t, rate=0.0 if t.server == "beta" else 1e5),
            control=True,
        )
    )
    row = next(row for row in never.rows if row.server == "beta")
    assert (row.ratio.median, row.verdict) == (0.0, "slower")


def test_a_percentile_is_not_the_median_of_the_lucky_trials():
    """Left out of one trial, where a stall was too rare to say, it is left out of the row."""
    load = made.load(100, kind="open", rate=1000.0, arrivals="poisson")

    def measure(trial):
        unlucky = trial.server == "beta" and trial.block == 1
        p99 = None if unlucky else 2000.0
        return made.ok(trial, latency=Latency(20_000, 1000.0, 1500.0, p99, None, 90_000.0))

    rows = judge(made.session(["alpha", "beta"], [load], 8, measure, control=True)).rows
    beta, alpha = (next(row for row in rows if row.server == name) for name in ("beta", "alpha"))
    assert (beta.latency_p99_us, beta.ratio, beta.rank) == (None, None, None)
    assert beta.latency_p50_us is not None
    assert alpha.latency_p99_us is not None


def test_a_control_that_differs_is_said():
    """The same server under two names, told apart: something else is at work."""

    def measure(trial):
        off = 1.2 if trial.server.endswith("-control") else 1.0
        return made.ok(trial, rate=1e5 * off * (1 + 0.001 * trial.block))

    judged = judge(made.session(["alpha", "beta"], [made.load(100)], 8, measure, control=True))
    (said,) = [line for line in judged.warnings if "yet the two differ" in line]
    assert "closed 64 B at 100" in said
    quiet = raced({"alpha": 1e5, "beta": 1.1e5})
    assert not any("yet the two differ" in line for line in quiet.warnings)


def table_of(rates, loads, blocks, noise, seed):
    """The rows of a closed-loop table of several loads, with noise by block and by trial."""
    draw = np.random.default_rng(seed)
    drift = draw.normal(0, 0.05, (len(loads), blocks))

    def measure(trial):
        rate = rates[trial.server.removesuffix("-control")]
        block = drift[loads.index(trial.load), trial.block]
        return made.ok(trial, rate=float(rate * np.exp(block + draw.normal(0, noise))))

    return judge(made.session(list(rates), loads, blocks, measure, control=True)).rows


def claims(rows):
    """Whether a table says of anybody that he is faster, slower, or not of any rank."""
    nothing = ((1, len({row.server for row in rows}) - 1), (None, None))
    return any(
        row.verdict in ("faster", "slower") or (row.rank, row.rank_worst) not in nothing
        for row in rows
    )


@pytest.mark.once
def test_a_table_of_equals_claims_nothing_in_nineteen_of_twenty():
    """All loads of a kind are one family, verdicts and ranks alike: 5 % of tables, not of loads."""
    equal = dict.fromkeys(("alpha", "beta", "gamma", "delta"), 100000.0)
    loads = [made.load(10**n) for n in range(5)]
    wrong = sum(claims(table_of(equal, loads, 5, 0.04, seed)) for seed in range(200))
    assert wrong <= 10


@pytest.mark.once
def test_a_tenth_is_found_in_a_whole_table():
    """One of four is 10 % slower, with the noise of the reference machine: ten blocks find it."""
    rates = {"alpha": 1e5, "beta": 1e5, "gamma": 1e5, "delta": 0.9e5}
    loads = [made.load(10**n) for n in range(5)]
    found = 0
    for seed in range(20):
        rows = [row for row in table_of(rates, loads, 10, 0.02, seed) if row.server == "delta"]
        found += sum(row.verdict == "slower" for row in rows)
    assert found >= 0.9 * 100


def test_each_failure_stands_once():
    """A connection that ended before its first echo: an old session counted it twice."""
    early, how = "the connection ended before its echo", "closed by the server"
    old = {early: 7, how: 9}

    def row(errors, **fields):
        return one_row(
            lambda t: made.ok(t, status="failed", reason="x", served=93, errors=errors, **fields),
            blocks=2,
        )

    assert row(old).errors == {how: 18}
    assert row(old, engine_cpu_s=0.0).errors == {early: 14, how: 18}
    assert row({early: 7}).errors == {early: 14}
    assert row(old).unserved == 14


def test_without_a_control_nothing_is_claimed():
    """The noise floor is not known, so no difference is."""
    judged = judge(
        made.session(
            measure=lambda t: made.ok(t, rate=1e3 if t.server == "alpha" else 2e3), blocks=6
        )
    )
    assert {row.verdict for row in judged.rows} <= {None, "not resolved"}
    assert any("no control" in line for line in judged.warnings)


def test_a_control_that_shares_no_block_with_its_reference_says_nothing():
    """Each was gated where the other was not: no noise floor, no crash, no order."""

    def measure(trial):
        spoilt = (trial.block % 2 == 0) is trial.server.endswith("-control")
        return made.ok(trial, gates=(made.gate("others"),) if spoilt else ())

    judged = judge(made.session(["alpha", "beta"], [made.load(100)], 6, measure, control=True))
    assert judged.noise == ()
    assert {row.verdict for row in judged.rows}.isdisjoint({"faster", "slower"})


def test_cost_is_given_as_a_multiple_of_the_floor():
    """CPU per message over the C server's, by block."""

    def measure(trial):
        return made.ok(trial, cpu_s=0.2 if trial.server == "floor" else 1.0)

    judged = judge(made.session(["alpha", "floor"], measure=measure, floor={"tier": "floor"}))
    over = {row.server: row.cpu_over_floor for row in judged.rows}
    assert over == {"alpha": pytest.approx(5.0), "floor": pytest.approx(1.0)}


def bins(rate):
    """Counts every 20 ms for 2.5 s; rate(t) → echoes per second."""
    times = [0.02 * (i + 1) for i in range(125)]
    counts = np.cumsum([rate(t) * 0.02 for t in times])
    return tuple((int(t * 1e9), int(c)) for t, c in zip(times, counts, strict=True))


@pytest.mark.parametrize(
    ("rate", "labelled"),
    [
        (lambda t: 1e5 + 1e3 * np.sin(99 * t), False),
        (lambda t: 1e5 * min(1, t / 0.3) + 1e3 * np.sin(99 * t), False),
        (lambda t: 1e5 * min(1, t / 1.2) + 1e3 * np.sin(99 * t), True),
        (lambda t: 1e5 * t, True),
    ],
)
def test_a_trial_that_did_not_settle_in_its_warm_up_is_labelled(rate, labelled):
    """Steady, or steady after a ramp within the warm-up: nothing; else the row says so."""
    row = one_row(lambda t: made.ok(t, bins=bins(rate)))
    assert bool(row.unsettled) is labelled


def test_precision_is_judged_by_the_widest_interval():
    """Enough when every ratio is narrow; else until blocks or time are used up."""
    judged = raced({"alpha": 1e5, "beta": 1.1e5})
    width = widest(judged)
    assert 0 < width < 0.02
    assert "as asked for" in why_enough(judged, Goal(0.03, 50), 8, 0, 1)
    assert why_enough(judged, Goal(width / 2, 50, 100.0), 8, 10, 20) == ""
    assert "as many as allowed" in why_enough(judged, Goal(width / 2, 8), 8, 0, 1)
    assert "no time for more" in why_enough(judged, Goal(width / 2, 50, 25.0), 8, 10, 20)
    assert widest(judge(made.session(blocks=2))) == float("inf")


def test_each_figure_has_a_noise_floor_of_its_own():
    """What the control shows of one figure says nothing of another; a failure shows nothing."""
    load = made.load(100)

    def measure(trial):
        other = 1.1 if trial.server.endswith("-control") else 1.0
        return made.ok(trial, rate=1000.0, cpu_s=other, connect_s=None)

    session = made.session(["alpha", "beta"], [load], 8, measure, control=True)
    assert floor(session, load, "messages_per_s") == pytest.approx(0.0)
    assert floor(session, load, "server_cpu_us_per_message") == pytest.approx(np.log(1.1))
    assert floor(session, load, "connect_s") is None
    assert floor(session, made.load(7), "messages_per_s") is None
    failed = made.session(
        ["alpha"],
        [load],
        8,
        lambda t: made.failed(t) if t.server == "alpha" and not t.block else made.ok(t),
        control=True,
    )
    assert floor(failed, load, "messages_per_s") is None
    assert floor(made.session(loads=[load]), load, "messages_per_s") is None
