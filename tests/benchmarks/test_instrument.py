"""Guards the programs that measure the instrument: that each runs, and its arithmetic.

What they find on a quiet machine stands in docs/instrument.md; no figure is asserted here.
"""

import json
import math
import subprocess
import sys
import types
from pathlib import Path

import aa_sessions
import capacity_truth
import ground_truth
import looks
import made
import numpy as np
import observer
import power
import pytest
import slices
import tables
import through
import two_clients
from msgspec.structs import replace

from c10k import machine, model
from c10k.declare import workload
from c10k.histograms import latencies
from c10k.run import drive

INSTRUMENT = Path(__file__).resolve().parents[2] / "benchmarks" / "instrument"

pytestmark = pytest.mark.once
KNOWN = INSTRUMENT / "known_servers"


def latency(*values_us):
    """A latency that holds these values."""
    histogram = latencies.empty()
    for value in values_us:
        histogram.record_value(round(value * 1000))
    return model.Latency(
        len(values_us), None, None, None, None, None, histogram.encode().decode("ascii")
    )


def trials(values, server="alpha", load=None, **fields):
    """A measurement a block, each with its rate."""
    load = load or made.load(100)
    return [
        model.Measurement(model.Trial(block, 0, server, load), "ok", messages_per_s=value, **fields)
        for block, value in enumerate(values)
    ]


# The helper


def test_a_workload_that_a_program_writes_is_read_as_it_was_meant(tmp_path):
    """Titles with quotes, paths, lists and truths arrive as they were declared."""
    declared = through.Declared(
        'A "quoted" title',
        ["/a folder/one.py", "epoll_c"],
        [{"kind": "open", "clients": [1, 20], "rate": 100.5}],
        3,
        1,
        {"control": True},
    )
    (tmp_path / "made.toml").write_text(declared.toml())
    found = workload.read(tmp_path / "made.toml")
    assert (found.title, found.servers) == ('A "quoted" title', ("/a folder/one.py", "epoll_c"))
    assert [(load.clients, load.rate) for load in found.loads] == [(1, 100.5), (20, 100.5)]
    assert (found.blocks, found.repeats, found.control) == (3, 1, True)


@pytest.mark.parametrize(
    ("gate", "counts"),
    [("steal", False), ("others", False), ("engine", True), ("little", True)],
)
def test_a_disturbed_machine_and_the_instruments_own_faults_are_kept_apart(gate, counts):
    """What the machine did is left out; what the suite itself did is what is looked for."""
    (one,) = trials([1.0], gates=(made.gate(gate),))
    assert through.usable(one) is counts
    session = replace(made.session(), measurements=(one,))
    assert through.usable(through.forgiven(session).measurements[0])
    assert not through.usable(replace(one, status="failed", gates=()))


def test_any_percentile_is_read_from_the_histogram():
    """Also one of too few messages for a table."""
    seen = latency(*range(1, 101))
    assert through.percentile_us(seen, 95) == pytest.approx(95, rel=0.002)
    assert through.percentile_us(seen, 100) == pytest.approx(100, rel=0.002)
    assert through.percentile_us(latency(), 50) is None
    assert through.percentile_us(None, 50) is None


# The observer


def test_the_blind_arm_stops_the_engines_looks_for_its_trial_only(monkeypatch, tmp_path):
    """Within the trial no look is due before its end; afterwards all is as it was."""
    for name in looks.LOOKS:
        monkeypatch.setattr(drive, name, 0.5)
    with looks.blind(tmp_path):
        assert all(getattr(drive, name) == looks.NEVER_S for name in looks.LOOKS)
    assert all(getattr(drive, name) == 0.5 for name in looks.LOOKS)


def test_the_often_arm_looks_at_the_server_while_its_trial_runs(monkeypatch, tmp_path):
    """The readings are taken of the server's processes, and end with the trial."""
    seen = []
    monkeypatch.setattr(looks, "look", seen.append)
    monkeypatch.setattr(looks, "OFTEN_S", 0.001)
    started = types.SimpleNamespace(pids=[7, 8])
    monkeypatch.setattr(looks.launch, "start", lambda name: started)
    before = looks.launch.start
    with looks.often(tmp_path):
        assert looks.launch.start("any") is started
        while {7, 8} - set(seen):
            pass
    count = len(seen)
    assert looks.launch.start is before
    assert len(seen) == count


def test_arms_are_told_by_the_servers_names(tmp_path):
    """A server is entered once for each of its arms, and what is built keeps its sources."""
    paths = observer.entered(tmp_path, ["epoll_c", "threads_sockets"])
    assert {looks.arm_of(Path(path).stem) for path in paths} == set(looks.ARMS)
    assert len(paths) == 2 * len(looks.ARMS) - 1  # the proof needs one server only
    assert (tmp_path / "epoll_c.c").exists()


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.03, 0.05, "moved"),
        (-0.05, -0.021, "moved"),
        (-0.01, 0.02, "unmoved"),
        (-0.01, 0.05, "not resolved"),
        (0.01, 0.03, "not resolved"),
        (-0.5, 0.5, "not resolved"),
    ],
)
def test_a_figure_has_moved_when_its_whole_interval_has(low, high, said):
    """Neither moved nor unmoved: the bench says that it cannot tell."""
    assert observer.verdict(low, high, 0.02) == said


def test_a_latency_may_move_by_20_us_and_a_long_one_by_2_percent():
    """15 µs of 100 is not a move, 40 µs of 1,000 is one, 40 µs of 10,000 is not."""
    for plain, more, said in ((100, 15, "unmoved"), (1000, 40, "moved"), (10_000, 40, "unmoved")):
        before = [plain + each for each in range(8)]
        found = observer.change(before, [each + more for each in before], latency=True)
        assert (found["verdict"], found["change"]) == (said, more), plain


def test_arms_are_compared_within_their_blocks():
    """A drift that is ten times the change, but common to a block, hides nothing."""
    drift = [1000.0 * 1.3**block for block in range(8)]
    cells = {"alpha.plain": drift, "alpha.blind": [each * 1.05 for each in drift]}
    cells["alpha.often"] = [drift[0], None]
    measured = [m for name, values in cells.items() for m in trials(values, name)]
    session = made.session(names=tuple(cells), loads=[made.load(100)], blocks=8)
    found = observer.evaluate(replace(session, measurements=tuple(measured)))
    by = {(row["arm"], row["figure"]): row for row in found["rows"]}
    assert by["blind", "rate"]["verdict"] == "moved"
    assert by["blind", "rate"]["change"] == pytest.approx(0.05)
    assert by["often", "rate"] | {"blocks": 1, "low": None} == by["often", "rate"]
    assert by["often", "rate"]["verdict"] == by["blind", "p99"]["verdict"] == "not resolved"


# Ground truth


def test_the_predictions_of_a_stall_follow_from_its_length_and_frequency():
    """A simulated server that stalls gives the percentiles that are predicted."""
    every, stall = 1000.0, 100.0
    waits = sorted(
        max(0.0, stall - at % every) for at in (number * 0.997 for number in range(100_000))
    )
    predicted = {
        case.figure: case.predicted / 1e3
        for case in ground_truth.stalls("any", stall, every)
        if case.kind == "open" and case.unit == "µs" and "send" not in case.figure
    }
    for percent in (50, 95, 99):
        at = waits[int(len(waits) * percent / 100)]
        assert predicted[f"p{percent}"] == pytest.approx(at, abs=0.2)


def test_every_figure_that_is_known_has_its_line():
    """Stalls come back by length and frequency; what was not recorded is a line without."""
    load = made.load(7, kind="open", rate=997.0)
    fields = {"longest_stall_s": 0.0991, "stalls": 20, "duration_s": 20.0}
    measured = trials([997.0], "stalls_100ms_a_second", load, latency=latency(5, 6, 7), **fields)
    session = replace(made.session(), measurements=tuple(measured))
    cases = ground_truth.stalls("stalls_100ms_a_second", 100.0, 1000.0)
    rows = {(r["case"], r["figure"]): r for r in ground_truth.cases(session, cases, {"open": 2.0})}
    name = "stalls_100ms_a_second, open"
    assert rows[name, "longest stall"]["error"] == pytest.approx(-0.9)
    assert rows[name, "stalls"]["error"] == 0
    assert rows[name, "p50"]["error_without_way"] == pytest.approx(4.0, rel=0.01)
    assert rows[name, "p95 from the send"]["reported"] is None
    assert rows["stalls_100ms_a_second, closed", "max"]["rounds"] == 0


def test_memory_is_what_is_more_than_of_the_server_that_keeps_nothing():
    """Of the judge's slopes, the kernel's parts among them."""

    def row(server, **slopes):
        zero = model.Slope(0.0, 0.0, 0.0)
        return model.MemoryRow(
            server,
            (10, 20, 30),
            **{
                name: model.Slope(slopes.get(name, 0.0), 0.0, 9e9)
                for name in ("pss", "private", "kernel_stacks", "page_tables", "total")
            },
            shared=zero,
            sockets=zero,
            threads=zero,
        )

    rows = [
        row(ground_truth.NOTHING, pss=100.0, total=900.0),
        row("keeps_128KiB_a_client", pss=131_172.0, total=132_228.0),
    ]
    found = {(line["case"], line["figure"]): line for line in ground_truth.kept(rows)}
    name = "keeps_128KiB_a_client, idle"
    assert found[name, "own, a client"]["error"] == 0
    assert found[name, "all, a client"]["error"] == 0
    other = "touches_4KiB_of_2MiB_a_client, idle"
    assert found[other, "page tables, a client"]["reported"] is None


def test_a_burn_in_children_is_what_the_burning_server_needs_more():
    """By block, so that what drifts falls out."""
    measured = []
    for burn, cpu_s in ((0, 0.01), (200, 0.03)):
        name = f"burns_{burn}us_in_children"
        use = model.ServerUse(cpu_s=cpu_s)
        (one,) = trials([100.0], name, messages=100, duration_s=1.0)
        measured.append(replace(one, server=use))
    session = replace(made.session(), measurements=tuple(measured))
    lines = {line["case"]: line for line in ground_truth.burnt(session)}
    assert lines["burns_200us_in_children, closed"]["error"] == pytest.approx(0.0)
    assert lines["burns_200us_behind_a_shell, churn"]["reported"] is None


# A/A of sessions


def test_no_session_stands_in_two_comparisons_of_a_way():
    """Else one odd session would count several times."""
    folders = [Path(f"s{number}") for number in range(40)]
    for name, (way, _) in aa_sessions.WAYS.items():
        used = [folder for sides in way(folders) for side in sides for folder in side]
        assert len(used) == len(set(used)), name
    assert len(aa_sessions.neighbours(folders)) == len(aa_sessions.far_apart(folders)) == 20
    assert len(aa_sessions.three_a_side(folders)) == 6


@pytest.mark.parametrize(("false", "said"), [(3, "at most 5 %"), (4, "more than 5 %")])
def test_the_share_of_false_rows_is_told_with_its_interval(false, said):
    """Three of 60 that are judged are 5 %; alarms are the gate's exit code 1."""
    pairs = [
        {"rows": 31, "untold": 1, "claims": [{}] * false, "exit": 1},
        {"rows": 30, "untold": 0, "claims": [], "exit": 2},
    ]
    found = aa_sessions.summary(pairs)
    assert (found["false"], found["judged"], found["verdict"]) == (false, 60, said)
    assert found["low"] < found["share"] < found["high"]
    assert (found["alarms"], found["cannot_tell"], found["pairs_with_any"]) == (1, 1, 1)


def test_of_no_row_nothing_is_said():
    """A comparison that cannot tell is not evidence that all is well."""
    untold = {"rows": 9, "untold": 9, "claims": [], "exit": 2}
    assert aa_sessions.summary([untold])["verdict"] == "nothing was judged"


# Slices


def test_the_expected_rate_is_clients_over_the_round_trip_of_the_name():
    """Within 2 % in every trial, or not; a failed trial is never within."""
    load = made.load(1000, ceiling_s=150.0)
    name = "answers_all_every_2000ms"
    good = slices.row(name, trials([501.0, 491.0], name, load, little=1.0))
    assert (good["expected_per_s"], good["within"]) == (500.0, True)
    assert good["worst_error"] == pytest.approx(-0.018)
    assert not slices.row(name, trials([500.0, 489.0], name, load))["within"]
    bad = trials([500.0, 500.0], name, load)
    bad[1] = replace(bad[1], status="failed", reason="the client gave no result")
    found = slices.row(name, bad)
    assert not found["within"]
    assert "the client gave no result" in found["reasons"]


def test_every_family_has_a_server_for_each_round_trip():
    """What the program will ask for is there."""
    for quick in (False, True):
        for names, _, _ in slices.cases(quick).values():
            for name in names:
                assert through.known(f"{name}.py")
                assert slices.round_trip_s(name) in (0.05, 0.5, 2.0, 5.0)


# Two clients


def on_both(rates, bound=frozenset()):
    """A session with these rates by (server, inner loops), up to 1 % apart from block to block."""

    def measure(trial):
        loops = trial.load.client
        share = 0.95 if (trial.server, loops) in bound else 0.5
        rate = rates.get((trial.server, loops), 1000.0)
        noise = 1 + 0.01 * ((trial.block * 7 + len(trial.server) + len(loops)) % 11 - 5) / 5
        return made.ok(trial, rate * noise, client_cpu_share=share, loops=loops)

    loads = [made.load(100, client=each) for each in two_clients.INNER_LOOPS]
    return made.session(two_clients.SERVERS, loads, 12, measure, control=True)


def verdicts_on(figure, *session):
    rows = two_clients.evaluate(on_both(*session))["rows"]
    return {row["server"]: row["verdict"] for row in rows if row["figure"] == figure}


def test_a_client_that_shows_one_server_slower_is_found_out():
    """The others are the same on both; with no difference none is claimed."""
    alike = verdicts_on("messages_per_s", {})
    assert alike == dict.fromkeys(two_clients.SERVERS, "same")
    found = verdicts_on("messages_per_s", {("trio_streams", "C"): 900.0})
    assert found == {**alike, "trio_streams": "apart"}


def test_a_rate_that_the_client_limited_is_not_compared():
    """It is the client's and not the server's."""
    limited = frozenset({("trio_streams", "asyncio")})
    found = verdicts_on("messages_per_s", {("trio_streams", "C"): 2000.0}, limited)
    assert found["trio_streams"] == "not compared"


# Capacity


def test_the_capacities_follow_from_arithmetic():
    """At the rate that is expected, 1 % of the messages wait longer than the level."""
    queue = capacity_truth.EXPECTED[capacity_truth.QUEUE] * capacity_truth.SERVICE_S
    wait = capacity_truth.LEVEL_S / capacity_truth.SERVICE_S - 1
    assert capacity_truth.queue.waits_at_most(wait, queue) == pytest.approx(0.99, abs=1e-4)


@pytest.mark.parametrize(("of_expected", "least", "most"), [(0.97, 0.9, 1), (1.03, 1, 1.1)])
def test_a_server_that_stalls_has_the_capacity_of_its_simulation(of_expected, least, most):
    """A little below it less than 1 % of the messages are late, and a little above it more.

    A stall is simulated as a message that takes as long. Arithmetic that forgot the messages
    which wait already, and the time of its own, foretold 16 % more.
    """
    service_s, slice_s = capacity_truth.STALLING_SERVICE_S, 3000
    rng = np.random.default_rng(19)
    rate = of_expected * capacity_truth.EXPECTED[capacity_truth.STALLS]
    messages, stalls = rng.uniform(0, slice_s, rng.poisson(rate * slice_s)), np.arange(slice_s)
    arrived = np.concatenate([messages, stalls])
    takes = np.repeat([service_s, capacity_truth.STALL_S], [len(messages), len(stalls)])
    order = np.argsort(arrived, kind="stable")
    arrived, takes, whole = arrived[order], takes[order], np.cumsum(takes[order])
    answered = whole + np.maximum.accumulate(arrived - (whole - takes))
    latency = (answered - arrived)[takes == service_s]
    assert least < 100 * np.mean(latency > capacity_truth.LEVEL_S) < most


def in_the_kernels_order(arrived, who, service_s, stall_s):
    """Latencies where epoll tells which clients have sent, and each one's messages are read.

    A client that was told stays in epoll's list, and so in front of those that send later.
    """
    told, waiting, latency = {}, {}, []
    coming, now = 0, 0.0
    arrived, who = [*arrived.tolist(), math.inf], [*who.tolist(), -1]
    while coming < len(arrived) - 1 or any(waiting.values()):
        now = now if any(waiting.get(each) for each in told) else max(now, arrived[coming])
        for client in list(told) or [who[coming]]:
            while arrived[coming] <= now:
                waiting.setdefault(who[coming], []).append(arrived[coming])
                told.setdefault(who[coming])
                coming += 1
            if not waiting.get(client):
                del told[client]
                continue
            now = max(now, math.floor(now) + stall_s)  # each second begins with a stall
            now += service_s * len(waiting[client])
            latency += [now - each for each in waiting[client]]
            waiting[client] = []
            told[client] = told.pop(client)
    return np.array(latency)


def test_of_many_clients_the_messages_are_answered_in_their_order():
    """So the arithmetic holds for the program's clients, as it does not for a hundred."""
    service_s, slice_s = capacity_truth.STALLING_SERVICE_S, 100
    rng = np.random.default_rng(19)
    count = rng.poisson(capacity_truth.EXPECTED[capacity_truth.STALLS] * slice_s)
    arrived = np.sort(rng.uniform(0, slice_s, count))

    def late(clients):
        who = rng.integers(clients, size=count)
        found = in_the_kernels_order(arrived, who, service_s, capacity_truth.STALL_S)
        assert len(found) == count
        return np.mean(found > capacity_truth.LEVEL_S)

    in_order = late(10**9)  # no client has two messages
    assert late(capacity_truth.CLIENTS) < 1.02 * in_order
    assert late(100) > 1.05 * in_order


def test_a_search_is_foretold_by_the_others():
    """Within the interval that they give for a further one, or not."""
    assert capacity_truth.foretold([100.0, 101.0, 102.0, 103.0]) == 4
    assert capacity_truth.foretold([100.0, 100.1, 100.2, 150.0]) == 3
    assert capacity_truth.foretold([100.0]) == 0


# Power


def test_a_planted_slow_down_is_found_and_a_twin_is_not(tmp_path):
    """On made-up rates: 10 % is claimed, nothing is of the twin, and the truth is covered."""
    names = (power.REFERENCE, power.TWIN, *power.BURNS_NS)
    cost_us = {name: 8.0 + power.BURNS_NS.get(name, 0) / 1e3 for name in names}
    chance = [0.999, 1.001, 1.0005, 0.9995, 1.0, 1.0002, 0.9998]

    def measure(trial):
        name = trial.server.removesuffix("-control")
        shift = 3 * (name == power.TWIN) + 2 * trial.server.endswith("-control")
        rate = 1e6 / cost_us[name] * chance[(trial.block + shift) % 7]
        use = model.ServerUse(cpu_s=1.0)
        return model.Measurement(
            trial,
            "ok",
            started_at=f"2026-01-02T03:{trial.block:02d}:05+00:00",
            messages=round(1e6 / cost_us[name]),
            messages_per_s=rate,
            duration_s=1.0,
            server=use,
        )

    whole = made.session(
        names=names, loads=[made.load(100)], blocks=14, measure=measure, control=True
    )
    found = power.report(whole, (7,))
    assert found["cost_ns"] == pytest.approx(8000)
    (length,) = found["lengths"]
    assert (length["sessions"], length["blocks"], length["twin_claimed"]) == (2, 7, 0)
    planted = length["planted"]["burns_900ns"]
    assert planted["truth"] == pytest.approx(8000 / 8900)
    assert planted["burn_by_cpu_clock_ns"] == pytest.approx(900, rel=0.01)
    assert (planted["found"], planted["covered"]) == (2, 2)
    (tmp_path / "power.json").write_text(json.dumps(found))
    assert "| 7 blocks, 420 s | 2 | 0 | 450 |" in tables.power(tmp_path / "power.json")


# The pages


def test_what_is_not_measured_yet_says_how_it_would_be(tmp_path):
    """No page breaks for want of a figure, and none stands there by hand."""
    for kind, table in tables.KINDS.items():
        assert "Not measured yet: `python benchmarks/instrument/" in table(tmp_path / "no"), kind


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (0.0449, "0.0449"), (99.13, "99.1"), (131_072, "131,072"), (-0.0, "0")],
)
def test_numbers_have_three_digits_and_no_sign_of_nothing(value, text):
    """As the tables print them."""
    assert tables.number(value) == text


# The servers with known answers


@pytest.mark.parametrize(
    "family",
    ["answers_about_*.py", "answers_all_every_*.py", "stalls_*.py", "burns_*us_in_children.py"],
)
def test_families_of_known_servers_are_one_file(family):
    """What a known server does stands in its name; nothing else tells its copies apart."""
    assert len({path.read_bytes() for path in KNOWN.glob(family)}) == 1
    assert len(list(KNOWN.glob(family))) > 1


# Each program, through the command


def program(name, tmp_path, *words):
    """The figures that a program keeps, and the table that it prints."""
    out = tmp_path / "found.json"
    command = [sys.executable, str(INSTRUMENT / f"{name}.py"), "--quick"]
    done = subprocess.run(
        [*command, "--out", str(out), "--keep", str(tmp_path / "kept"), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return json.loads(out.read_text()), done.stdout


@pytest.mark.alone
def test_ground_truth_runs_through_the_suite(tmp_path):
    """Every case has its line; what is known without a clock comes back."""
    found, shown = program("ground_truth", tmp_path)
    assert len(found["rows"]) >= 40
    assert all(math.isfinite(row["predicted"]) for row in found["rows"])
    assert "| stalls_100ms_a_second, closed | max, µs | 100,000 |" in shown
    own = next(
        r for r in found["rows"] if r["case"].startswith("keeps_128") and "own" in r["figure"]
    )
    assert own["reported"] == pytest.approx(own["predicted"], rel=0.05)


@pytest.mark.alone
def test_the_observer_runs_every_arm_in_one_session(tmp_path):
    """Each arm but the plain one is compared in every figure."""
    found, shown = program("observer", tmp_path)
    assert {row["arm"] for row in found["rows"]} == set(looks.ARMS) - {"plain"}
    assert found["trials"] == 2 * len(looks.ARMS)
    assert "| blind |" in shown


@pytest.mark.alone
def test_equal_sessions_are_made_once_and_compared(tmp_path):
    """A second call makes no session again; every way of comparing has its line."""
    found, _ = program("aa_sessions", tmp_path)
    assert list(found["ways"]) == list(aa_sessions.WAYS)
    assert found["ways"]["three a side"]["pairs"] == 1
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*.json")}
    again, _ = program("aa_sessions", tmp_path)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert again == found


@pytest.mark.alone
def test_slices_run_through_the_suite(tmp_path):
    """Every family has its line, and the cut ones say so."""
    found, _ = program("slices", tmp_path)
    assert [row["how"] for row in found["rows"]] == 2 * list(slices.FAMILIES.values())
    assert {row["expected_per_s"] for row in found["rows"]} == {400.0}
    assert [row["at_ceiling"] for row in found["rows"]] == [0, 0, 0, 1, 1, 1]


@pytest.mark.alone
@pytest.mark.skipif(len(machine.cores_allowed() or ()) < 2, reason="has one core, or cannot pin")
def test_server_cores_run_through_the_suite(tmp_path):
    """Each server has its line for each number of cores that it was given."""
    found, shown = program("server_cores", tmp_path)
    assert [(row["server"], row["server_cores"]) for row in found["rows"]] == [
        ("hashes_in_threads", 1),
        ("hashes_in_a_loop", 1),
        ("hashes_in_threads", 2),
        ("hashes_in_a_loop", 2),
    ]
    assert all(row["cores_used"] > 0 for row in found["rows"])
    assert "| hashes_in_threads | 2 |" in shown


@pytest.mark.alone
def test_power_runs_through_the_suite(tmp_path):
    """The long session is closed as finished, and judged in one piece."""
    found, _ = program("power", tmp_path)
    assert (tmp_path / "kept" / "session" / "finished.json").exists()
    assert found["trials"] == 15
    assert [length["sessions"] for length in found["lengths"]] == [1]


@pytest.mark.alone
def test_both_inner_loops_are_compared_through_the_suite(tmp_path):
    """Each figure of each server has its line, on both."""
    found, shown = program("two_clients", tmp_path)
    assert [row["server"] for row in found["rows"]] == [
        server for _ in two_clients.COMPARED["open"] for server in two_clients.SERVERS
    ]
    costs = [row for row in found["rows"] if row["figure"] == "server_cpu_us_per_message"]
    assert all(row["asyncio"] and row["C"] for row in costs)
    assert "| trio_streams | CPU µs/message |" in shown


@pytest.mark.alone
def test_known_capacities_are_searched_through_the_suite(tmp_path):
    """Each server has its line, with the one search that it had."""
    found, _ = program("capacity_truth", tmp_path)
    assert [row["server"] for row in found["rows"]] == list(capacity_truth.EXPECTED)
    assert {row["searches"] for row in found["rows"]} == {1}
