"""Guards the claims: the rules decide rightly, evidence is kept, and each experiment does
what its words say. Timings are not asserted; what came before what is."""

import importlib.util
import json
import math
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import made
import numpy as np
import psutil
import pytest
from command import c10k
from hypothesis import example, given
from hypothesis import strategies as st
from waiting import until

from c10k import check, claims, launch, paths
from c10k.declare import catalog
from c10k.launch import requirements
from c10k.model import ClaimPart, ClaimsHead, Outcome
from c10k.render import verdicts
from c10k.run import store

ROOT = Path(__file__).resolve().parents[2]
PLANTED = ROOT / "tests" / "planted_claims"
KNOWN = claims.find(paths.CLAIMS)
WORKING = catalog.find(paths.SERVERS / "working")
UNITS = paths.CLAIMS / "units"
HEAD = ClaimsHead(claims.SCHEMA, "0", "2026-01-01T00:00:00+00:00", True, "ladder", {})


def c10k_ok(*words, **options):
    """What the command prints when all goes well."""
    return c10k(*words, **options).stdout


# -- rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "bound", "expected"),
    [
        ((2.0, 2.1, 2.2), {"above": 1.0}, "supported"),
        ((2.0, 2.1, 2.2), {"below": 1.0}, "refuted"),
        ((0.4, 0.5, 0.6), {"above": 1.0}, "refuted"),
        ((0.5, 1.0, 1.5), {"above": 1.0}, "not resolved"),
        ((2.0, 2.1), {"above": 1.0}, "not resolved"),  # two repetitions say nothing
        ((), {"above": 1.0}, "not resolved"),
        ((1.0, 1.0, 1.0), {"below": 1.5}, "supported"),
    ],
)
def test_a_part_is_decided_by_its_whole_interval(values, bound, expected):
    """Only an interval that lies on one side of the bound decides."""
    assert claims.part("it", values, **bound).decision == expected


@given(st.lists(st.floats(-1e6, 1e6), max_size=12), st.floats(-1e6, 1e6))
@example([1.0, 14.0, 1.2e-279], 0.0)  # an interval whose end is beyond any float
def test_above_and_below_never_agree(values, bound):
    """What is supported above a bound is not supported below it, whatever was measured."""
    above = claims.part("it", values, above=bound).decision
    below = claims.part("it", values, below=bound).decision
    assert {above, below} != {"supported"}
    if above == "supported":
        assert below == "refuted"


@given(st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=9))
def test_a_ratio_and_its_inverse_say_the_same(ratios):
    """Which of two is divided by which does not matter."""
    there = claims.figure("it", ratios, "×")
    back = claims.figure("it", [1 / each for each in ratios], "×")
    assert there.median == pytest.approx(1 / back.median)
    assert there.low == pytest.approx(1 / back.high)


@pytest.mark.parametrize("most", [1.0, 19_900.0, math.inf])
@given(shares=st.lists(st.floats(0, 1), min_size=3, max_size=14))
@example(shares=[1.0, 1.0, 1.0, 0.28, 0.13])
def test_no_interval_of_a_share_or_a_count_has_what_cannot_be(most, shares):
    """19,900 clients without an echo (7,660 to 25,500) of 19,900 were said once."""
    scale = 20_000 if most == math.inf else most
    found = claims.figure("it", [share * scale for share in shares], most=most)
    assert 0 <= found.low <= found.median <= found.high <= most


@pytest.mark.parametrize("repetitions", [claims.FULL, 9, 12])
@pytest.mark.parametrize(("a", "b"), [(0.3, 0.3), (1, 9), (8, 1)])
def test_an_interval_of_shares_holds_the_median_as_often_as_it_says(repetitions, a, b):
    """All or nothing, mostly nothing, mostly all: a known answer, 95 % of the time or more."""
    draw = np.random.default_rng(1)
    median = float(np.median(draw.beta(a, b, 400_000)))
    tries = draw.beta(a, b, (2000, repetitions))
    held = [claims.figure("it", each.tolist(), most=1) for each in tries]
    assert np.mean([each.low <= median <= each.high for each in held]) > 0.94


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([1, 2, 1], "supported"),
        ([0, 0, 0], "refuted"),
        ([0, 1, 1], "depends"),
        ([1, 1], "not resolved"),
        ([], "not resolved"),
    ],
)
def test_what_is_so_or_not_is_decided_by_its_being_so_each_time(seen, expected):
    """Each time, never, now and then; and two times say nothing."""
    assert claims.always("it", seen).decision == expected


def test_a_bound_is_given_once():
    """Both bounds or none is a mistake of the claim's author."""
    with pytest.raises(ValueError, match="one bound"):
        claims.part("it", (1, 2, 3))
    with pytest.raises(ValueError, match="one bound"):
        claims.part("it", (1, 2, 3), above=1, below=2)


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        (["supported", "supported"], "supported"),
        (["refuted"], "refuted"),
        (["supported", "refuted"], "depends"),
        (["supported", "not resolved", "refuted"], "depends"),
        (["supported", "not resolved"], "not resolved"),
        (["supported", ""], "supported"),
        (["supported", "depends"], "depends"),
        ([""], "not resolved"),
        ([], "not resolved"),
    ],
)
def test_parts_decide_together(decisions, expected):
    """Supported here and refuted there: it depends; a comparison does not count."""
    assert claims.together(ClaimPart("it", each) for each in decisions) == expected


# -- the command ---------------------------------------------------------------------------


def outcomes(folder):
    return {each.claim: each for each in claims.load(folder)[1]}


def test_planted_claims_are_found_out(tmp_path):
    """A true claim is supported, a false one refuted, an undecidable one not resolved."""
    names = ("a_true_claim", "a_false_claim", "an_undecidable_claim", "breaks_in_the_middle")
    said = c10k_ok("claims", *(PLANTED / f"{name}.py" for name in names), "--out", tmp_path / "o")
    assert "Traceback" not in said
    found = outcomes(tmp_path / "o")
    assert [found[name].decision for name in names] == [
        "supported",
        "refuted",
        "not resolved",
        "not resolved",
    ]
    assert len(found["a_true_claim"].samples["took"]) == claims.FULL
    assert found["breaks_in_the_middle"].reason == (
        "ZeroDivisionError: there is nothing to divide by"
    )
    for word in ("SUPPORTED", "REFUTED", "NOT RESOLVED", "nothing to divide by"):
        assert word in said


def test_what_was_found_is_not_made_again(tmp_path):
    """A folder that holds outcomes is continued; --show runs nothing."""
    folder = tmp_path / "o"
    c10k_ok("claims", PLANTED / "a_true_claim.py", "--quick", "--out", folder)
    first = outcomes(folder)["a_true_claim"]
    both = (PLANTED / "a_true_claim.py", PLANTED / "a_false_claim.py")
    c10k_ok("claims", *both, "--quick", "--out", folder)
    assert outcomes(folder)["a_true_claim"] == first
    shown = json.loads(c10k_ok("claims", "--show", folder, "--format", "json"))
    assert shown == json.loads(c10k_ok("claims", "--show", folder, "--json"))
    assert [each["claim"] for each in shown["outcomes"]] == ["a_true_claim", "a_false_claim"]
    assert "| A sleep of 2 ms" in c10k_ok("claims", "--show", folder, "--format", "markdown")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no_such_claim"], "there is no claim 'no_such_claim'"),
        ([PLANTED / "no_claim.py"], "EXPERIMENT, RULE, measure, decide missing"),
        ([PLANTED / "absent.py"], "no such file"),
        ([ROOT / "tests" / "bad_servers"], "there is no claim"),
        (["--python", "no-such-python"], "--python no-such-python: there is no such interpreter"),
        (["--show", "nowhere"], "claims.jsonl: cannot be read: no such file"),
        (["--show", "nowhere", "--quick"], "--show runs nothing"),
    ],
)
def test_a_wrong_call_gets_one_line(arguments, says, tmp_path):
    """What was wrong and where; exit code 2."""
    done = c10k("claims", *arguments, code=2, cwd=tmp_path)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_call_does_not_mix_with_what_a_folder_holds(tmp_path):
    """Quick outcomes and full ones do not come to stand in one file."""
    c10k_ok("claims", PLANTED / "a_true_claim.py", "--quick", "--out", tmp_path / "o")
    done = c10k("claims", PLANTED / "a_false_claim.py", "--out", tmp_path / "o", code=2)
    assert "holds outcomes of another call" in done.stderr


# -- keeping -------------------------------------------------------------------------------


def test_a_torn_line_is_cut_off_and_made_again(tmp_path):
    """The machine stopped while an outcome was written: the others stand."""
    claims.keep(tmp_path, HEAD)
    whole = Outcome("it", "Words.", "", "", "supported", (), samples={"took": (1.0, 2.0)})
    claims.keep(tmp_path, whole)
    path = tmp_path / claims.FILE
    path.write_bytes(path.read_bytes() + b'{"claim": "torn')
    assert claims.load(tmp_path) == (HEAD, (whole,))
    assert claims.begin(tmp_path, HEAD) == {"it"}
    assert path.read_bytes().endswith(b"\n")


@given(st.binary(max_size=200))
def test_nonsense_is_named_as_such(content):
    """Whatever stands in the file: an error of ours or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / claims.FILE).write_bytes(content + b"\n")
        with pytest.raises(claims.ClaimError):
            claims.load(Path(folder))


def test_a_claims_words_do_not_break_a_page():
    """A claim is anybody's text: a table's cells are escaped."""
    evil = Outcome("it", "<script>|x|", "", "", "supported", (ClaimPart("a|b", "refuted"),))
    text = verdicts.as_markdown(verdicts.Outcomes("here", HEAD, (evil,)))
    assert "<script>" not in text
    assert "a\\|b" in text


# -- the suite's own claims ----------------------------------------------------------------


def test_every_claim_is_whole_and_stands_in_the_readme():
    """Words, experiment and rule are said, and the folder's README names each."""
    listed = (paths.CLAIMS / "README.md").read_text()
    assert len(KNOWN) == 8
    for name, module in claims.choose((), KNOWN).items():
        assert all(getattr(module, text).strip() for text in ("WORDS", "EXPERIMENT", "RULE"))
        assert f"| `{name}` |" in listed


def decisions(name, samples):
    claim = claims.read(KNOWN[name])
    named = {claim.Sample(*key): values for key, values in samples.items()}
    return {part.what: part.decision for part in claim.decide(named)}


def test_blocking_is_decided_by_those_who_waited():
    """All waited: supported. Nobody did: refuted. They waited anyway: not resolved."""

    def found(name, call, block, control, offload, many):
        shares = {"call": call, "block": block, "control": control}
        shares |= {"offload": offload, "offload-many": many}
        samples = {(name, work, "share"): [share] * 6 for work, share in shares.items()}
        return list(decisions("blocking_is_banned", samples).values())

    yes, no, unknown = "supported", "refuted", "not resolved"
    assert found("stalled", 1.0, 1.0, 0.0, 0.0, 0.0) == [yes, yes, yes, yes, ""]
    assert found("full_pool", 1.0, 1.0, 0.0, 0.0, 1.0) == [yes, yes, yes, no, ""]
    assert found("slow", 1.0, 1.0, 0.5, 1.0, 1.0) == [unknown, unknown, no, no, ""]
    assert found("threads_working", 0.0, 0.0, 0.0, 0.0, 0.0) == [""] * 5


def test_a_sleep_that_a_patch_has_replaced_is_no_blocking_call():
    """Only C code decides whether a block stalls everyone; the patch decides about libraries."""
    shares = {"call": 1.0, "block": 0.0, "control": 0.0}
    samples = {("patched", work, "share"): [share] * 6 for work, share in shares.items()}
    call, block, *_ = decisions("blocking_is_banned", samples).items()
    assert "into C" in call[0]
    assert call[1] == "supported"
    assert "time.sleep" in block[0]
    assert block[1] == "refuted"


def test_drivers_are_decided_by_those_who_asked_nobody():
    """A general driver stalls all or none, one of the framework none; else it is not resolved."""

    def found(name, slow, control=0.0):
        shares = {"slow": slow, "control": control}
        samples = {(name, question, "share"): [share] * 6 for question, share in shares.items()}
        ((words, decision),) = decisions("specific_drivers", samples).items()
        assert ("redis-py" in words) == (name in ("asyncio_redis_blocking", "gevent_redis"))
        return decision

    assert found("asyncio_redis_blocking", 1.0) == "supported"
    assert found("gevent_redis", 0.0) == "refuted"
    assert found("trio_coredis", 0.0) == "supported"
    assert found("trio_coredis", 1.0) == "refuted"
    assert found("trio_coredis", 1.0, control=0.5) == "not resolved"


def test_threads_that_ask_a_backend_are_shown_for_comparison():
    """They are not event-driven, so they decide nothing."""
    samples = {("threads_redis", question, "share"): [0.0] * 6 for question in ("slow", "control")}
    assert list(decisions("specific_drivers", samples).values()) == [""]


def test_drivers_without_any_are_no_outcome(loading, monkeypatch):
    """On a machine without Redis, or without a driver, the reason is said once."""
    missing = "redis-server is not on PATH"
    monkeypatch.setattr(loading.requirements, "why_not_runnable", lambda server: missing)
    with pytest.raises(RuntimeError, match=f"^{missing}$"):
        loading.asking_redis()


def test_a_race_under_the_lock_voids_the_experiment():
    """The control must lose nothing, else the counting itself is wrong."""
    locked = ("threads", "under a lock")
    lost = {("threads", "by a read, a call and a write"): [9, 8, 7]}
    lost |= {("asyncio", "without a switch in between"): [0, 0, 0]}
    assert list(decisions("threads_race", lost | {locked: [0, 0, 0]}).values()) == [
        "supported",
        "supported",
        "",
    ]
    void = decisions("threads_race", lost | {locked: [0, 1, 0]})
    assert list(void.values()) == ["not resolved", "not resolved", ""]


def test_a_switch_between_read_and_write_decides_nothing():
    """It loses updates by construction: that cannot refute that cooperative code does not race."""
    lost = {
        ("threads", "by a read, a call and a write", "Python 3"): [9, 8, 7],
        ("threads", "under a lock", "Python 3"): [0, 0, 0],
        ("trio", "without a switch in between"): [0, 0, 0],
        ("trio", "with a switch in between"): [1800, 1800, 1800],
    }
    found = decisions("threads_race", lost)
    assert found["trio loses none with a switch in between"] == ""
    assert claims.together(map(ClaimPart, found, found.values())) == "supported"


def test_parallel_is_decided_by_the_speedup():
    """Twice the answers on two cores: parallel. The same: not. Each interpreter for itself."""
    found = decisions(
        "threads_run_in_parallel",
        {
            ("hold", "speedup", "3.13"): [0.99, 1.01, 1.0],
            ("hold", "busy", "3.13"): [1.02, 1.01, 1.03],
            ("hold", "speedup", "3.13, no GIL"): [1.9, 2.0, 1.95],
            ("hold", "busy", "3.13, no GIL"): [1.9, 1.95, 1.9],
        },
    )
    assert list(found.values()) == ["refuted", "refuted", "supported", "supported"]


def test_clients_of_a_server_that_ends_end_as_well():
    """They read nothing for ever, and kept a core busy after the command had been interrupted."""
    claim = claims.read(KNOWN["threads_run_in_parallel"])
    ends = []

    def connect():
        mine, theirs = socket.socketpair()
        (ends.append if len(ends) < 2 else socket.socket.close)(theirs)  # two wait for the others
        mine.settimeout(5)
        return mine

    gone = SimpleNamespace(connect=connect, pid=os.getpid())
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="left a client without its answer"):
        claim.rate(gone, "hold", 0.1)
    assert threading.active_count() == before
    for end in ends:
        end.close()


EVENT, THREADS = "asyncio_streams", "threads_sockets"
AT_LIMIT = made.load(19_900, duration_s=20.0)
AT_A_RATE = made.load(10_000, kind="open", rate=1000.0, arrivals="poisson", duration_s=10.0)


def of_a_ladder(load, **fields):
    """What past_ten_thousand decides of two servers whose every trial came to this."""
    measured = made.session(
        (EVENT, THREADS),
        [load],
        3,
        measure=lambda trial: made.ok(trial, **{"duration_s": load.duration_s, **fields}),
    )
    claim = claims.read(KNOWN["past_ten_thousand"])
    with mock.patch.object(store, "load", return_value=measured):
        samples = claim.measure(claims.Setting(True, 3, Path(), (), Path(), print))
    found = {part.what: part.decision for part in claim.decide(samples)}
    return {
        name: [decision for what, decision in found.items() if what.startswith(name)]
        for name in (EVENT, THREADS)
    }


def test_whether_servers_are_even_is_asked_of_slices_long_enough():
    """In a slice shorter than a round trip everybody is without an echo: that says nothing."""
    short = of_a_ladder(AT_LIMIT, messages=19_900, clients_without_echo=19_900, fairness=None)
    assert short == {EVENT: ["supported", "not resolved"], THREADS: ["refuted", "not resolved"]}
    long = of_a_ladder(AT_LIMIT, messages=400_000, clients_without_echo=0, fairness=0.99)
    assert long == {EVENT: ["supported", "supported"], THREADS: ["refuted", "refuted"]}
    uneven = of_a_ladder(AT_LIMIT, messages=400_000, clients_without_echo=5_000, fairness=0.3)
    assert uneven == {EVENT: ["supported", "refuted"], THREADS: ["refuted", "supported"]}


def test_how_long_the_clients_wait_does_not_decide_whether_all_are_served():
    """An echo that had not come when they stopped waiting is late; a client that failed is not."""
    late = of_a_ladder(AT_LIMIT, lost=17_000, messages=1_000, status="failed")
    assert [late[EVENT][0], late[THREADS][0]] == ["supported", "refuted"]
    failed = of_a_ladder(AT_LIMIT, served=19_000, messages=1_000, status="failed")
    assert [failed[EVENT][0], failed[THREADS][0]] == ["refuted", "supported"]


def test_ten_thousand_clients_are_asked_within_what_a_server_can_do():
    """At its limit a server says nothing of clients; behind the rate with time left, it does."""
    kept = {"rate": 999.0, "rate_achieved": 1000.0}
    assert of_a_ladder(AT_A_RATE, **kept) == {EVENT: ["supported"], THREADS: ["refuted"]}
    behind = {"rate": 900.0, "rate_achieved": 1000.0}
    assert of_a_ladder(AT_A_RATE, **behind) == {EVENT: ["refuted"], THREADS: ["supported"]}
    stalled = {"rate": 980.0, "rate_achieved": 1000.0}  # a fifth of a second of ten
    assert of_a_ladder(AT_A_RATE, **stalled) == {EVENT: ["supported"], THREADS: ["refuted"]}
    limited = of_a_ladder(AT_A_RATE, **behind, cpu_s=9.9)
    assert limited == {EVENT: ["not resolved"], THREADS: ["not resolved"]}


def test_trials_that_a_gate_rejected_decide_nothing():
    """Nor do those of the control."""
    assert of_a_ladder(AT_LIMIT, gates=(made.gate("steal"),)) == {EVENT: [], THREADS: []}


def test_a_slice_that_tells_no_rate_tells_who_was_served():
    """Starved clients make a slice too short for a rate: to leave it out would hide them."""
    starved = {"messages": 400_000, "clients_without_echo": 5_000, "fairness": 0.3}
    seen = of_a_ladder(AT_LIMIT, **starved, gates=(made.gate("little"),))
    assert seen == of_a_ladder(AT_LIMIT, **starved)
    assert seen[THREADS] != []


def test_what_was_measured_is_kept_under_a_name():
    """A text as it is, a tuple's parts with spaces between them, as in the outcomes that exist."""
    ladder = claims.read(KNOWN["past_ten_thousand"]).Sample
    parallel = claims.read(KNOWN["threads_run_in_parallel"]).Sample
    assert claims.named("took") == "took"
    assert claims.named(ladder(EVENT, 10_000, 1000.0, "served")) == f"{EVENT} 10000 1000 served"
    assert claims.named(parallel("hold", "busy", "")) == "hold busy"
    assert claims.named(parallel("hold", "rate-1", "3.13.0 with the lock")) == (
        "hold rate-1 3.13.0 with the lock"
    )
    _, kept = claims.load(ROOT / "results" / "reference-claims")
    assert "hold speedup" in {name for each in kept for name in each.samples}


def test_costs_are_compared_repetition_by_repetition():
    """A figure that could not be seen (0) drops its pair, not the part."""
    found = decisions(
        "threads_cost_more",
        {
            ("threads_sockets", 100, "memory", "3.13"): [20, 0, 21, 22],
            ("asyncio_streams", 100, "memory", "3.13"): [5, 5, 5.1, 5.2],
            ("threads_sockets", 100, "memory", "3.13, no GIL"): [5, 5, 5, 5],
            ("asyncio_streams", 100, "memory", "3.13, no GIL"): [5, 5, 5.1, 5.2],
        },
    )
    assert list(found.values()) == ["supported", "refuted"]  # each interpreter for itself


def test_memory_is_all_that_the_machine_gave_up(monkeypatch):
    """The kernel's part is more than half of what a thread costs."""
    claim = claims.read(KNOWN["threads_cost_more"])
    parts = {"kernel_stacks_bytes": 16, "page_tables_bytes": 4, "slab_bytes": 8}
    held = made.memory(21, sockets_bytes=1, **parts)
    monkeypatch.setattr(claim.watch, "memory", lambda pids: held)
    assert claim.held_bytes([1]) == 21 + 16 + 4 + 8 + 1


def test_threads_and_cores_are_counted_apart():
    """One thread that keeps two cores busy is single-threaded in one sense only."""
    found = decisions(
        "single_threaded",
        {
            ("it", "threads"): [1, 1, 1],
            ("it", "cores"): [1.8, 1.9, 1.85],
            ("threads_sockets", "threads"): [9, 9, 9],
        },
    )
    assert list(found.values()) == ["supported", "refuted", ""]


def test_what_an_echo_shows_is_not_said_of_servers_that_offload():
    """Their way out starts threads: the claim depends."""
    found = decisions(
        "single_threaded",
        {
            ("it", "threads"): [1, 1, 1],
            ("it_working", "offloading"): [7, 7, 7],
            ("threads_working", "offloading"): [21, 21, 21],
        },
    )
    assert list(found.values()) == ["supported", "refuted", ""]
    assert claims.together(map(ClaimPart, found, found.values())) == "depends"


def test_sleeps_that_end_early_are_as_wrong_as_late_ones():
    """On time is within one bound on both sides; a clock of a millisecond is within it."""
    on_time = {("x", "away_p99_ms"): [1, 2, 1.5], ("x", "earliest_ms"): [1.4, 1.4, 1.3]}
    on_time |= {("x", "disordered"): [0, 0, 0]}
    assert list(decisions("tasks_run_concurrently", on_time).values()) == ["supported"] * 2
    early = on_time | {("x", "away_p99_ms"): [70, 80, 90], ("x", "earliest_ms"): [70, 80, 90]}
    assert list(decisions("tasks_run_concurrently", early).values()) == ["refuted", "supported"]


def test_order_is_decided_apart_from_lateness():
    """A framework may be on time and not in order, each time or now and then."""
    on_time = {("x", "away_p99_ms"): [1, 2, 1.5]}
    never = on_time | {("x", "disordered"): [0.2, 0.3, 0.2]}
    assert list(decisions("tasks_run_concurrently", never).values()) == ["supported", "refuted"]
    at_times = on_time | {("x", "disordered"): [0.0, 0.9, 0.0]}
    assert list(decisions("tasks_run_concurrently", at_times).values()) == ["supported", "depends"]


# -- the programs they run -----------------------------------------------------------------


def program(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(UNITS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_threads_under_a_lock_lose_nothing():
    """The control of the race."""
    assert program("counter.py", "threads")["lost"]["under a lock"] == 0


@pytest.mark.parametrize("name", ["gevent", "twisted", "asyncio", "uvloop", "curio", "trio"])
def test_cooperative_units_lose_updates_only_across_a_switch(name):
    """Without a switch in between none, with one nearly all: ten units read the same value."""
    lost = program("counter.py", name)["lost"]
    assert lost["without a switch in between"] == 0
    assert lost["with a switch in between"] > 0


@pytest.mark.parametrize(
    "name", ["threading", "gevent", "twisted", "asyncio", "uvloop", "curio", "trio"]
)
def test_sleeps_all_end_and_some_come_due_meanwhile(name):
    """Every unit ends; uvloop's clock stands still within a turn, so a few ms early may be."""
    found = program("sleeps.py", name, 200, 1)
    assert found["earliest_ms"] < 100
    assert found["overdue"] > 0
    assert 0 <= found["disordered"] <= 1
    assert all(math.isfinite(value) for value in found.values())


def test_the_order_of_those_held_up_is_seen():
    """Two that were due 10 ms apart and ended the other way round, among three; and a late one
    that was due before the computation is of the other kind."""
    report = runpy.run_path(str(UNITS / "sleeps.py"))["report"]
    ends = [(0.9, 0.95), (0.95, 0.949), (1.02, 1.21), (1.01, 1.22), (1.03, 1.23), (1.5, 1.5)]
    found = report(ends, (1.0, 1.2))
    assert found["away_p99_ms"] == pytest.approx(50)
    assert found["earliest_ms"] == pytest.approx(1)
    assert found["overdue"] == 3
    assert found["disordered"] == pytest.approx(1 / 3)


# -- servers at work -----------------------------------------------------------------------


@pytest.fixture
def loading():
    """What the experiments share."""
    spec = importlib.util.spec_from_file_location("_loading", paths.CLAIMS / "_loading.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_crowd_counts_every_message(loading, tmp_path):
    """All at once, one by one, and none of them is left when it is closed."""
    server = catalog.read(paths.SERVERS / "threads_sockets.py")
    with launch.serving(server, tmp_path / "log") as running:
        crowd = loading.Crowd(running, 300)
        assert len(crowd.waits_s()) == 300
        crowd.one_by_one(50)
        crowd.close()


def test_a_load_begins_when_all_clients_are_there_and_ends_with_its_block(loading, tmp_path):
    """While it lasts the server has all of their threads, and no longer."""
    server = catalog.read(paths.SERVERS / "threads_sockets.py")
    with launch.serving(server, tmp_path / "log") as running:
        process = psutil.Process(running.pid)
        with loading.loaded(running, 20, 30.0):
            assert process.num_threads() == 21
            used = process.cpu_times()
            until(lambda: process.cpu_times() != used)  # it is asked to do something
        until(lambda: process.num_threads() == 1)


@pytest.fixture(params=WORKING, ids=lambda server: server.name)
def server(request):
    """Each server at work in turn; skipped, visibly, where it cannot run."""
    if reason := requirements.why_not_runnable(request.param):
        pytest.skip(reason)
    return request.param


def test_a_working_server_keeps_the_contract(server, tmp_path):
    """The same kit as for every server."""
    assert check.check(server, workdir=tmp_path).failures == ()


def test_a_request_is_echoed_when_its_work_is_done(server, tmp_path):
    """Each kind of work is echoed as it was sent, and so is text that is not a request."""
    with launch.serving(server, tmp_path / "log") as running, running.connect() as client:
        for work in (b"wait", b"block", b"call", b"offload", b"hold", b"free", b"keep"):
            for line in (b"!%s 3\n", b"!%s 0.1\n", b"!%s 0.1 64\n", b"!%s 3 #17.4\n"):
                client.sendall(line % work)
                assert client.recv(64) == line % work
        client.sendall(b"!sing 3\n")
        assert client.recv(64) == b"!sing 3\n"


def test_work_takes_as_long_as_was_asked(server, tmp_path):
    """In tenths of a millisecond; a framework's own timer may be a millisecond early."""
    with launch.serving(server, tmp_path / "log") as running, running.connect() as client:
        for work in ("wait", "block", "call", "offload", "hold", "free", "keep"):
            began = time.perf_counter()
            client.sendall(f"!{work} 30.5 8 #1.1\n".encode())
            assert client.recv(64)
            assert time.perf_counter() - began > 0.029


@pytest.mark.parametrize("work", ["wait", "offload", "block", "call"])
def test_only_a_block_stalls_the_other_clients(server, work, tmp_path):
    """Whose echo comes first: the waiting client's, when its handler blocks the loop."""
    free = (
        work in ("wait", "offload")
        or server.name == "threads_working"
        or (work == "block" and server.name == "gevent_patched")  # no patch reaches C
    )
    with (
        launch.serving(server, tmp_path / "log") as running,
        running.connect() as one,
        running.connect() as other,
    ):
        for client in (one, other):  # both are served
            client.sendall(b"?")
            assert client.recv(1) == b"?"
        one.sendall(f"!{work} 1000\n".encode())
        select.select([one], [], [], 0.2)  # it is at work
        other.sendall(b"x")
        first, _, _ = select.select([one, other], [], [], 5)
        if free:
            assert first == [other]
        else:
            assert one in first
