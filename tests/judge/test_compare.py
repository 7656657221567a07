"""Guards comparing: verdicts by known truth, what broke, thresholds, and what cannot be told."""

import json
import re
from pathlib import Path

import made
import numpy as np
import pytest
from command import c10k
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from c10k import plan
from c10k.cli import words
from c10k.declare import workload
from c10k.judge import compare, comparison
from c10k.model import Runtime
from c10k.plan import search

pytestmark = pytest.mark.once

LOADS = (made.load(10), made.load(100))


def measured(factor=1.0, seed=0, blocks=5, noise=0.02, spread=0.0, **fields):
    """A session with a control, whose server beta is `factor` times as fast.

    spread: how far sessions lie from one another, as a standard deviation of logarithms: each
    server under each load has its own luck in a session, which all its blocks share.
    """
    draw = np.random.default_rng(seed)
    names, loads = fields.pop("names", ("alpha", "beta")), fields.pop("loads", LOADS)
    luck = {(name, load): draw.normal(0, spread) for name in names for load in loads}

    def measure(trial):
        server = trial.server.removesuffix("-control")
        rate = 1e5 * (factor if server == "beta" else 1.0) * trial.load.clients
        drawn = luck[server, trial.load] + draw.normal(0, noise)
        return made.ok(trial, rate=float(rate * np.exp(drawn)))

    return made.session(list(names), loads, blocks, measure, **{"control": True, **fields})


def side(seed, sessions=3, **fields):
    return [measured(seed=1000 * seed + n, **fields) for n in range(sessions)]


def verdicts(found):
    return {(row.server, row.clients): row.verdict for row in found.rows}


def changed(session, server, change, load=None):
    """The session with a server's trials (under a load) changed."""
    return replace(
        session,
        measurements=tuple(
            change(m) if m.trial.server == server and load in (None, m.trial.load) else m
            for m in session.measurements
        ),
    )


def fails(reason="17 echoes lost"):
    return lambda m: made.failed(m.trial, reason)


# -- what sessions say of one another ------------------------------------------------------

CLAIMS = ("faster", "slower", "better", "worse")


def test_one_session_a_side_claims_nothing():
    """Blocks of one session say nothing of the next: whatever the ratio, it cannot be told."""
    for factor in (1.0, 0.7):
        found = compare.sessions([measured(seed=1)], [measured(factor, seed=2)], ("a", "b"))
        assert set(verdicts(found).values()) == {"cannot be told"}
        assert all(row.ratio.low is None and row.ratio.high is None for row in found.rows)
        assert any("how much sessions differ" in line for line in found.warnings)
        assert found.advice.startswith("c10k race ")


@pytest.mark.parametrize("series", [0, 5])
def test_equal_sessions_claim_at_most_one_in_twenty(series):
    """A/A with sessions 4 % apart: of 60 tables at most three say that anything differs.

    With what a session's own blocks show, as it was, most of these tables do.
    """
    claimed = 0
    for seed in range(60):
        many = 1 if series else 3
        a, b = (side(seed + 100 * n, many, spread=0.04) for n in (1, 2))
        between = side(seed + 300, series, spread=0.04)
        found = compare.sessions(a, b, ("a", "b"), between=between)
        assert "cannot be told" not in verdicts(found).values()
        claimed += any(word in CLAIMS for word in verdicts(found).values())
    assert claimed <= 3


@pytest.mark.parametrize(("sessions", "servers"), [(3, ["beta"]), (4, [])])
def test_a_planted_difference_is_found_with_three_sessions_a_side(sessions, servers):
    """15 % slower, sessions 4 % apart: found in one server with three a side, in a table of
    four rows with four; where it was planted, and never turned round."""
    loads = LOADS[:1] if servers else LOADS
    words = []
    for seed in range(20):
        a, b = (
            side(seed + n, sessions, factor=factor, spread=0.04, loads=loads)
            for n, factor in ((100, 1.0), (0, 0.85))
        )
        found = compare.sessions(a, b, ("a", "b"), servers=servers)
        words += verdicts(found).items()
    beta = [word for (server, _), word in words if server == "beta"]
    alpha = [word for (server, _), word in words if server == "alpha"]
    assert beta.count("slower") >= len(beta) * 0.8
    assert "faster" not in beta
    assert sum(word in CLAIMS for word in alpha) <= len(alpha) * 0.05


def test_the_ratio_of_several_sessions_holds_what_was_planted():
    """Its interval is that of the sessions, wider than any one's blocks would have it."""
    a, b = side(1, 4, spread=0.04), side(2, 4, factor=1.2, spread=0.04)
    found = compare.sessions(a, b, ("a", "b"))
    planted = [row for row in found.rows if row.server == "beta"]
    assert planted
    for row in planted:
        assert row.ratio.low < 1.2 < row.ratio.high
        assert row.ratio.high / row.ratio.low > 1.05
        assert row.ratio.blocks == 4


def test_a_series_of_equal_sessions_makes_one_a_side_tell():
    """How far sessions lie apart is taken from it: 40 % is found, 5 % is not."""
    series = side(7, 6, spread=0.04)
    for factor, word in ((0.6, "slower"), (0.95, "not resolved")):
        found = compare.sessions(
            side(1, 1, spread=0.04), side(2, 1, factor=factor, spread=0.04), ("a", "b"),
            between=series,
        )  # fmt: skip
        assert verdicts(found)["beta", 10] == word
    lacking = [made.session(["alpha"], LOADS, 5, control=True) for _ in range(3)]
    found = compare.sessions(side(1, 1), side(2, 1), ("a", "b"), between=lacking)
    assert verdicts(found)["beta", 10] == "cannot be told"


@pytest.mark.parametrize(
    ("fields", "says"), [({"blocks": 2}, "fewer than 3 blocks"), ({"control": False}, "no control")]
)
def test_too_few_blocks_or_no_control_cannot_be_told(fields, says):
    """quick has two blocks and no control: whatever it shows, nothing is claimed, and why."""
    found = compare.sessions(side(1, **fields), side(2, factor=0.5, **fields), ("a", "b"))
    assert set(verdicts(found).values()) == {"cannot be told"}
    assert any(says in line for line in found.warnings)
    assert compare.untold(found, {"": 0.05}) == list(found.rows)
    assert compare.failed(found, {"": 0.05}) == []


def test_two_servers_of_one_session_are_compared_by_block():
    """What drifts between the blocks cancels out."""
    draw = np.random.default_rng(5)
    drift = draw.normal(0, 0.2, 8)

    def measure(trial):
        rate = 1e5 * (1.05 if trial.server == "beta" else 1.0)
        return made.ok(trial, rate=float(rate * np.exp(drift[trial.block] + draw.normal(0, 0.003))))

    session = made.session(["alpha", "beta"], LOADS, 8, measure, control=True)
    found = compare.servers(session, "alpha", "beta")
    for row in found.rows:
        assert row.server == "beta / alpha"
        assert row.verdict == "faster"
        assert row.ratio.low < 1.05 < row.ratio.high
        assert row.ratio.high / row.ratio.low < 1.02


def test_two_servers_without_a_control_are_not_told_apart():
    """The noise floor is not known then, which is not a floor of nothing."""
    found = compare.servers(measured(0.9, control=False), "alpha", "beta")
    assert set(verdicts(found).values()) == {"cannot be told"}
    few = compare.servers(measured(0.5, blocks=2), "alpha", "beta")
    assert set(verdicts(few).values()) == {"cannot be told"}
    assert found.advice == "c10k race alpha beta made --blocks 7"


def test_all_rows_of_a_table_are_one_family():
    """Two equal servers under ten loads, two figures: in 60 tables hardly one claim."""
    loads = [made.load(10 + n) for n in range(10)]
    claimed = 0
    for seed in range(60):
        session = measured(seed=seed, blocks=11, loads=loads, noise=0.05)
        found = compare.servers(session, "alpha", "beta", ["latency_p50_us"])
        claimed += any(word in CLAIMS for word in verdicts(found).values())
    assert claimed <= 3


def test_the_noise_floor_is_the_compared_figures_own():
    """A control that is steady in its rate and wild in its CPU hides no rate, but CPU."""
    draw = np.random.default_rng(3)

    def measure(trial):
        factor = 0.9 if trial.server == "beta" else 1.0
        wild = 2.0 if trial.server.endswith("-control") else 1.0
        rate = 1e5 * factor * float(np.exp(draw.normal(0, 0.002)))
        return made.ok(trial, rate=rate, cpu_s=wild * (2 - factor) * rate / 1e5)

    session = made.session(["alpha", "beta"], LOADS, 9, measure, control=True)
    figure = "server_cpu_us_per_message"
    found = compare.servers(session, "alpha", "beta", [figure])
    assert {row.verdict for row in found.rows if row.primary} == {"slower"}
    assert {row.verdict for row in found.rows if row.figure == figure} == {"not resolved"}


# -- what broke, what is zero, what is missing ---------------------------------------------


def test_what_broke_is_a_row_and_fails():
    """A server that failed every trial, or one, is broken; named, and never a gap in a table."""
    a, b = side(1), side(2)
    for broken in (
        [changed(each, "beta", fails()) for each in b],
        [*b[:2], replace(b[2], measurements=tuple(
            made.failed(m.trial, "17 echoes lost") if m.trial.server == "beta" and not at else m
            for at, m in enumerate(
                sorted(b[2].measurements, key=lambda m: m.trial.server != "beta")
            )
        ))],
    ):  # fmt: skip
        found = compare.sessions(a, broken, ("a", "b"))
        words = verdicts(found)
        assert len(words) == 4
        assert "broken" in words.values()
        (row, *_) = compare.failed(found, {"": 0.05})
        assert (row.server, row.verdict) == ("beta", "broken")
        assert "17 echoes lost" in row.reason
        back = compare.sessions(broken, a, ("a", "b"))
        assert "mended" in verdicts(back).values()
        assert compare.failed(back, {"": 0.05}) == []


def test_one_session_a_side_still_says_what_broke():
    """No statistics are needed for that; under --fail-on any figure it fails."""
    found = compare.sessions([measured()], [changed(measured(), "beta", fails())], ("a", "b"))
    assert verdicts(found)["beta", 10] == "broken"
    assert len(compare.failed(found, {"latency_p99_us": 0.05})) == 2
    assert compare.failed(found, {}) == []


def test_bad_on_both_sides_is_incomparable():
    """Neither fine nor newly broken: it cannot be judged."""
    bad = [changed(measured(), "beta", fails())]
    found = compare.sessions(bad, bad, ("a", "b"))
    assert verdicts(found)["beta", 10] == "incomparable"
    assert {row.server for row in compare.untold(found, {"": 0.05})} == {"alpha", "beta"}


@pytest.mark.parametrize(
    ("gate", "word"),
    [("others", "cannot be told"), ("little", "broken")],
)
def test_what_was_always_gated_is_no_figure(gate, word):
    """A noisy machine does not make a server broken; a server that cannot be measured is."""
    gated = changed(measured(), "beta", lambda m: replace(m, gates=(made.gate(gate),)))
    found = compare.sessions([measured()], [gated], ("a", "b"))
    assert verdicts(found)["beta", 10] == word
    assert gate in next(r.reason for r in found.rows if r.server == "beta")
    servers = compare.servers(gated, "alpha", "beta")
    assert set(verdicts(servers).values()) == {word}


def test_what_one_side_lacks_is_a_row():
    """Planned by one side only: broken or mended, with what differs where it is nearly there."""
    less = side(2, loads=LOADS[:1], names=["beta"])
    words = verdicts(compare.sessions(side(1), less, ("a", "b")))
    assert [words[each] for each in (("alpha", 10), ("alpha", 100), ("beta", 100))] == [
        "broken"
    ] * 3
    assert "broken" not in verdicts(compare.sessions(less, side(1), ("a", "b"))).values()
    longer = [LOADS[0], made.load(100, duration_s=30.0)]
    found = compare.sessions(side(1), side(2, loads=longer), ("a", "b"))
    assert any("duration_s 30.0 instead of 2.0" in row.reason for row in found.rows)


def test_a_session_that_ended_early_lacks_what_it_planned():
    """A row that was planned and never run counts like one that failed."""
    whole = measured()
    short = replace(
        whole, measurements=tuple(m for m in whole.measurements if m.trial.load == LOADS[0])
    )
    found = compare.sessions([whole], [short], ("a", "b"))
    assert verdicts(found)["beta", 100] == "broken"


def retrying(count):
    return lambda m: replace(m, retried=count)


def test_a_zero_baseline_is_no_gap():
    """0 to 5,000 retried is worse, back is better, 0 to 0 the same; one a side is enough."""
    none, many = ([changed(measured(), "beta", retrying(count), LOADS[0])] for count in (0, 5000))
    for a, b, word, failing in (
        (none, many, "worse", 1), (many, none, "better", 0), (none, none, "same", 0)
    ):  # fmt: skip
        found = compare.sessions(a, b, ("a", "b"), ["retried"])
        (row,) = (row for row in found.rows if row.figure == "retried")
        assert (row.verdict, row.ratio) == (word, None)
        assert (row.a.median, row.b.median) == (a[0] is many[0] and 5000, b[0] is many[0] and 5000)
        assert len(compare.failed(found, {"retried": 0.05})) == failing
        assert compare.untold(found, {"retried": 0.05}) == []


def test_zeros_among_others_are_values():
    """A rate of 0 in some blocks is the worst there is, and pulls the ratio down."""

    def stopping(m):
        return m if m.trial.block % 2 else replace(m, messages_per_s=0.0, messages=0)

    stopped = [changed(each, "beta", stopping) for each in side(2)]
    found = compare.sessions(side(1), stopped, ("a", "b"))
    row = next(row for row in found.rows if row.server == "beta")
    assert row.ratio.median < 0.5
    assert row.verdict == "slower"
    assert row.b.least == 0


def test_a_figure_that_one_side_does_not_know_cannot_be_told():
    """Sessions of an older suite lack what is recorded since."""
    older = [changed(each, "beta", lambda m: replace(m, connect_s=None)) for each in side(1)]
    found = compare.sessions(older, side(2), ("a", "b"), ["connect_s"])
    words = {row.server: row.verdict for row in found.rows if row.figure == "connect_s"}
    assert words == {"alpha": "same", "beta": "cannot be told"}


def test_what_the_client_bounds_is_not_claimed():
    """B at its client's limit may be better than it shows: slower is not claimed, nor same."""
    bound = [changed(s, "beta", lambda m: replace(m, client_cpu_share=0.99))
             for s in side(2, factor=0.5)]  # fmt: skip
    found = compare.sessions(side(1), bound, ("a", "b"))
    row = next(row for row in found.rows if row.server == "beta")
    assert (row.verdict, row.a_bound, row.b_bound) == ("not resolved", False, True)
    assert row in compare.untold(found, {"": 0.05})
    back = compare.sessions(bound, side(1), ("a", "b"))
    assert verdicts(back)["beta", 10] == "not resolved"


def test_sessions_with_nothing_in_common_are_refused():
    """One line that says what each has."""
    with pytest.raises(comparison.NothingInCommon, match=r"a has alpha.*; b has gamma"):
        compare.sessions([measured()], [measured(names=["gamma"])], ("a", "b"))
    with pytest.raises(comparison.NothingInCommon, match="alpha-control"):
        compare.servers(measured(), "alpha", "nobody")


# -- thresholds ----------------------------------------------------------------------------


def test_thresholds_fail_only_what_is_worse_with_its_whole_interval():
    """5 % worse fails at 3 %, not at 10 %; better never fails; less memory is better."""
    fine = {"noise": 0.002, "spread": 0.002}
    slower = compare.sessions(side(1, **fine), side(2, factor=0.95, **fine), ("a", "b"))
    assert {row.server for row in compare.failed(slower, {"": 0.03})} == {"beta"}
    assert compare.failed(slower, {"": 0.10}) == []
    assert compare.untold(slower, {"": 0.10}) == []
    assert compare.failed(slower, {"messages_per_s": 0.03})
    faster = compare.sessions(side(1, **fine), side(2, factor=1.3, **fine), ("a", "b"))
    assert compare.failed(faster, {"": 0.03}) == compare.untold(faster, {"": 0.03}) == []

    def heavier(m):
        own = made.memory(10_000_000 + 8192 * m.served)
        return replace(m, server=replace(m.server, after=own))

    figure = "memory_per_client_bytes"
    light, heavy = side(1), [changed(each, "beta", heavier) for each in side(2)]
    up = compare.sessions(light, heavy, ("a", "b"), [figure])
    assert {row.verdict for row in compare.failed(up, {figure: 0.5})} == {"worse"}
    assert len(compare.failed(up, {figure: 0.5})) == 2
    assert compare.failed(compare.sessions(heavy, light, ("a", "b"), [figure]), {figure: 0.5}) == []


def test_what_may_be_worse_than_allowed_is_not_fine():
    """0 only when it is shown: an interval that reaches beyond the limit cannot be told."""
    found = compare.servers(measured(seed=3, blocks=7, noise=0.1), "alpha", "beta")
    assert "not resolved" in verdicts(found).values()
    assert compare.failed(found, {"": 0.01}) == []
    assert compare.untold(found, {"": 0.01})
    assert compare.untold(found, {"": 0.9}) == []


@pytest.mark.parametrize(("comparisons", "blocks"), [(1, 6), (3, 7), (8, 9), (36, 11)])
def test_blocks_for_a_claim(comparisons, blocks):
    """As many as stats.compare says that it takes."""
    assert comparison.blocks_for(comparisons) == blocks


@given(st.integers(1, 6), st.integers(1, 6), st.floats(1e-6, 1e6), st.integers(1, 3))
def test_no_sizes_crash_it(blocks, others, factor, many):
    """Few blocks, wild ratios: a verdict or none, and never an order without evidence."""
    found = compare.sessions(
        side(1, many, blocks=blocks), side(3, many, factor=factor, blocks=others), ("a", "b")
    )
    if min(blocks, others, many) < 3:
        assert set(verdicts(found).values()) <= {"cannot be told"}
    compare.failed(found, {"": 0.05})
    compare.untold(found, {"": 0.05})


# -- searches ------------------------------------------------------------------------------


def searched(**limits):
    """A finished search: each server holds up to its limit."""
    table = (
        'title="t"\nservers=["a"]\n[search]\nleast=100\nmost=24000\nwithin=0.01\n'
        '[[load]]\nkind="open"\nclients=100\nrate=5000\n'
    )
    chosen = workload.parse(table, "breaking.toml")
    planned = plan.make(chosen, [made.server(name) for name in limits], 1)
    done, trials = [], list(planned.trials)
    while trials:
        for trial in trials:
            within = trial.load.clients <= limits[trial.server]
            done.append(made.ok(trial) if within else made.failed(trial, "10 clients not served"))
        trials = search.following(planned, done)
    base = made.session()
    return replace(base, plan=planned, measurements=tuple(done))


def with_cores(session, cores):
    chosen = replace(session.plan.workload, server_cores=cores)
    return replace(session, plan=replace(session.plan, workload=chosen))


def test_sessions_whose_servers_had_different_cores_say_so():
    """The servers' names do not tell, and a ratio would be taken for the servers' own."""
    one, two = side(1), [with_cores(each, 2) for each in side(2)]
    said = "the servers had different numbers of cores (--server-cores): 2, one for each process"
    assert said in compare.sessions(one, two, ("A", "B")).warnings
    assert not any("cores" in line for line in compare.sessions(two, two, ("A", "B")).warnings)
    assert "--server-cores 2" in compare.sessions(two, two, ("A", "B")).advice


@pytest.mark.parametrize(
    ("old", "new", "word", "failing", "open_"),
    [
        (5000, 9000, "farther", 0, 0),
        (9000, 5000, "nearer", 1, 0),
        (9000, 9010, "not resolved", 0, 0),
        (24000, 24000, "same", 0, 0),
        (9000, 0, "broken", 1, 0),
        (0, 9000, "mended", 0, 0),
        (0, 0, "incomparable", 0, 1),
    ],
)
def test_searches_compare_their_breaking_points(old, new, word, failing, open_):
    """How far each went, and nothing within what the searches leave open."""
    found = compare.sessions([searched(alpha=old)], [searched(alpha=new)], ("a", "b"))
    (row,) = found.rows
    assert (row.verdict, row.figure, row.primary) == (word, "breaking_point", True)
    assert len(compare.failed(found, {"": 0.05})) == failing
    assert len(compare.untold(found, {"": 0.05})) == open_
    if row.ratio:
        assert row.ratio.low <= new / old <= row.ratio.high


def test_two_servers_of_a_search_and_other_levels():
    """Of one session they are compared, too; a search and a ladder have nothing in common."""
    found = compare.servers(searched(alpha=5000, beta=9000), "alpha", "beta")
    assert [(row.server, row.verdict) for row in found.rows] == [("beta / alpha", "farther")]
    with pytest.raises(comparison.NothingInCommon, match="service level"):
        compare.sessions([searched(alpha=5000)], [measured()], ("a", "b"))
    with pytest.raises(comparison.NothingInCommon, match="nothing in common"):
        compare.sessions([searched(alpha=5000)], [searched(beta=5000)], ("a", "b"))


# -- the command ---------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Stored sessions, three a side: before, and after with beta a third slower."""
    for name, factor in (("before", 1.0), ("after", 0.67)):
        for n, session in enumerate(side(len(name), factor=factor, spread=0.01)):
            environment = {**session.environment, "python": {"version": name}}
            made.kept(tmp_path / f"{name}{n}", replace(session, environment=environment))
    return [[tmp_path / f"{name}{n}" for n in range(3)] for name in ("before", "after")]


def test_the_command_says_environments_first_and_fails_on_request(folders):
    """Differences of the machines, then the table; exit code 1 and the rows that are worse."""
    before, after = folders
    done = c10k("compare", *before, "--", *after)
    assert done.stdout.startswith("! environment: python.version: before → after")
    assert done.stdout.count("slower") == 2
    failed = c10k("compare", *before, "--against", *after, "--fail-on", "15%", code=1)
    assert failed.stderr.count("worse than allowed: beta") == 2
    assert c10k("compare", *before, "--", *after, "--fail-on", "messages_per_s:50%").stderr == ""
    assert c10k("compare", *after, "--", *before, "--fail-on", "15%").stderr == ""


def test_a_server_that_failed_every_trial_fails_the_gate(folders, tmp_path):
    """It was an empty table and exit code 0: now 1, and the server is named with its reason."""
    broken = made.kept(tmp_path / "broken", changed(measured(), "beta", fails("1 echo altered")))
    done = c10k("compare", folders[0][0], broken, "--fail-on", "5%", code=1)
    assert "broken: beta, 10 clients, closed 64 B: B: failed in 5 of 5 blocks: 1 echo altered" in (
        done.stderr
    )
    assert "broken" in done.stdout


def test_what_cannot_be_told_is_exit_code_2(folders, tmp_path):
    """One session a side, however different: 2, why, and the command that would tell."""
    done = c10k("compare", folders[0][0], folders[1][0], "--fail-on", "5%", code=2)
    assert "cannot be told: 4 rows: one session does not show" in done.stderr
    assert "what would tell: c10k race" in done.stderr
    assert c10k("compare", folders[0][0], folders[1][0]).stderr == ""
    quick = made.kept(tmp_path / "quick", measured(blocks=2, control=False))
    assert "fewer than 3 blocks" in c10k("compare", quick, quick, "--fail-on", "5%", code=2).stderr
    lacking = c10k("compare", *folders[0], "--", *folders[0], "--fail-on", "retried:5%", code=2)
    assert "no trial of either side has retried" in lacking.stderr


def test_the_command_to_race_names_the_versions_that_differ(tmp_path):
    """Two sessions of one server on two versions: the advice can be copied as it is."""
    for version in ("0.34", "0.35"):
        on = {"beta": Runtime("", "3.11", True, {"trio": version})}
        made.kept(tmp_path / version, replace(measured(), runtimes=on))
    done = c10k(
        "compare", tmp_path / "0.34", tmp_path / "0.35", "--servers", "beta", "--fail-on", "5%",
        code=2,
    )  # fmt: skip
    assert "what would tell: c10k race beta@trio==0.34 beta@trio==0.35 made" in done.stderr


def test_a_folder_of_equal_sessions_makes_one_a_side_tell(folders, tmp_path):
    """--between: the spread between sessions is read from it; fewer than three are refused."""
    aa = tmp_path / "aa"
    for n, session in enumerate(side(9, 4, spread=0.01)):
        made.kept(aa / str(n), session)
    one = (folders[0][0], folders[1][0], "--between", aa, "--fail-on", "15%")
    assert "worse than allowed: beta" in c10k("compare", *one, code=1).stderr
    few = c10k("compare", *one[:3], aa / "1", code=2)
    assert "has 0 sessions, but 3 or more are needed" in few.stderr
    many = c10k("compare", *folders[0], "--", *folders[1], "--between", aa, code=2)
    assert "--between is not needed" in many.stderr


def test_two_servers_of_one_folder(folders):
    """Three words, the others the names of servers."""
    done = c10k("compare", folders[1][0], "alpha", "beta")
    assert "A: alpha. B: beta." in done.stdout
    assert "slower" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["before0", "--"], "say which sessions are the other side"),
        (["before0"], "say which sessions are the other side"),
        (["before0", "before1", "before2", "after0"], "say which sessions are the other side"),
        (["before0", "before1", "after0"], "say which sessions are the other side"),
        (
            ["before0", "after0", "--servers", "gamma"],
            "not in the session; choose from alpha, beta",
        ),
        (["before0", "alpha", "beta", "--servers", "alpha"], "need two sessions"),
    ],
)
def test_sides_that_are_not_said_are_one_line(folders, monkeypatch, words, says):
    """What was wrong, and how it is written."""
    monkeypatch.chdir(folders[0][0].parent)
    done = c10k("compare", *words, code=2)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_only_some_servers_are_shown_and_judged(folders):
    """--servers leaves out what a gate is not about."""
    before, after = folders
    done = c10k("compare", *before, "--", *after, "--servers", "alpha", "--fail-on", "15%")
    assert "beta" not in done.stdout


def test_the_table_fits_100_columns(tmp_path, monkeypatch):
    """With real names, figures and loads of the ladder, however long the folders' names."""
    names = ["twisted_inlinecallbacks", "gevent_streamserver"]
    loads = [made.load(10_000), made.load(19_900, kind="open", rate=10_000.0, arrivals="poisson")]
    for name in ("20261125-085101-throughput", "20261126-085101-throughput"):
        for n in "123":
            made.kept(tmp_path / (name + n), measured(names=names, loads=loads))
    monkeypatch.chdir(tmp_path)
    every = sorted(each.name for each in tmp_path.iterdir())
    out = c10k("compare", *every[:3], "--", *every[3:]).stdout
    assert "twisted_inlinecallbacks" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith(("!", "A: "))) <= 100


def test_help_names_every_figure_and_the_exit_codes():
    """What --fail-on may name is not to be guessed, nor what comes of it."""
    text = " ".join(c10k("compare", "--help").stdout.replace("│", " ").split())
    for figure in words.figures_to_name():
        assert figure in text
    for code in ("Exit code 1: something is broken", "2: it cannot be told", "0: shown to be"):
        assert code in text


GOLDEN = Path(__file__).parent / "golden"
STEPS = (0.0, 0.004, -0.003, 0.002, -0.004, 0.001, 0.003, -0.002)


@pytest.fixture
def fixed(tmp_path, monkeypatch):
    """Stored sessions without any randomness, three a side, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, factor in (("before", 1.0), ("after", 0.9)):
        for n in range(3):

            def measure(trial, factor=factor, n=n):
                rate = 1e5 * (factor if trial.server == "beta" else 1.0) * trial.load.clients
                # what distinguishes servers and loads must not be the same in every block
                place = len(trial.server) + trial.load.clients + 3 * trial.block
                return made.ok(trial, rate=rate * (1 + STEPS[place % 8] + STEPS[n]))

            session = made.session(["alpha", "beta", "gamma"], LOADS, 8, measure, control=True)
            if name == "after":
                session = changed(session, "gamma", fails(), LOADS[1])
            made.kept(Path(f"{name}{n}"), session)
    return tmp_path


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "json"])
def test_each_format_is_as_the_golden_file_has_it(fixed, form):
    """What people and tools read keeps its shape, to the letter."""
    before, after = ([f"{name}{n}" for n in range(3)] for name in ("before", "after"))
    done = c10k("compare", *before, "--", *after, "--format", form)
    golden = GOLDEN / f"compare.{form}"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(done.stdout)
        pytest.fail(f"{golden} was written: look at it, and keep it")
    assert rounded(done.stdout) == rounded(golden.read_text())


def rounded(text):
    """The last digits of a double may be another machine's; the rest may not."""
    return re.sub(r"\d+\.\d{6,}", lambda match: f"{float(match[0]):.9g}", text)


def test_json_holds_everything(folders):
    """For programs: rows with ratio and verdict, environments, and what failed."""
    before, after = folders
    done = c10k("compare", *before, "--", *after, "--format", "json", "--fail-on", "15%", code=1)
    short = c10k("compare", *before, "--", *after, "--json", "--fail-on", "15%", code=1)
    assert short.stdout == done.stdout
    found = json.loads(done.stdout)
    assert found["environment"] == ["python.version: before → after"]
    assert {row["verdict"] for row in found["rows"] if row["server"] == "beta"} == {"slower"}
    assert [row["server"] for row in found["failed"]] == ["beta", "beta"]
    assert found["untold"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--fail-on", "much"), "invalid share"),
        (("--fail-on", "beauty:5%"), "there is no figure 'beauty'"),
        (("--fail-on", "0%"), "invalid share"),
        (("--fail-on", "5%", "3%"), "is given twice"),
    ],
)
def test_a_threshold_that_is_none_is_one_line(folders, words, says):
    """What was wrong, and what there is."""
    done = c10k("compare", folders[0][0], folders[1][0], *words, code=2)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{}", "{", '{"schema": 99}', "\xff"])
def test_a_foreign_or_broken_file_is_one_line(folders, text):
    """Truncated, corrupted, another schema: exit code 2, the file named."""
    (folders[1][0] / "session.json").write_text(text, encoding="latin-1")
    done = c10k("compare", folders[0][0], folders[1][0], code=2)
    assert "session.json" in done.stderr
    assert len(done.stderr.splitlines()) == 1
