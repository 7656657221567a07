"""Guards the conformance kit: each bad server fails, and the case that says why is named."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from c10k import check, launch, paths
from c10k.check import long
from c10k.check.client import Subject
from c10k.check.run import remember
from c10k.declare import catalog

pytestmark = pytest.mark.once

BAD = Path(__file__).parents[1] / "bad_servers"
GOOD = paths.SERVERS / "threads_sockets.py"

# bad server → cases that it must fail, and words that each one's detail must hold
EXPECTED = {
    "accepts_one": {"backlog": "nothing moved", "overflow": "nothing moved"},
    "asks_first": {"no-data": "nothing moved"},
    "buffers_without_bound": {"slow-reader": "memory grew"},
    "chatters_on_stdout": {"silence": "hello"},
    "dies_in_service": {
        "echo-1-mib": "exited with code 3: the last word",
        "echo-8-mib": "the last word",
    },
    "dies_of_resets": {
        "reset-before": "ConnectionResetError",
        "reset-during": "ConnectionResetError",
    },
    "drops_idle": {"idle-long": "after 1,000 bytes"},
    "expects_ipv4": {
        "out-of-descriptors": "client",
        "out-of-threads": "client",
        "ipv6": "over IPv6",
        "unix": "over a UNIX socket",
    },
    "hangs_at_start": {"start": "no echo after it was started: still waiting for a licence"},
    "ignores_sigterm": {
        "sigterm": "s after SIGTERM",
        "sigterm-in-echo": "s after SIGTERM",
    },
    "large_buffers": {"socket-options": "SO_BUF_LOCK is 1, not 0", "read-size": "1,048,576"},
    "limits_clients": {"segments": " after ", "echo-64-kib": " after "},
    "loses_after_half_close": {
        "half-close": "end of stream",
        "half-close-unread": "read nothing",
        "stalled-reader": "of 99 active clients got no echo",
    },
    "never_forgets": {"churn": "bytes of memory"},
    "relistens": {"backlog": "100"},
    "shares_buffer": {"interleaved": "differs"},
    "spins_at_its_limit": {"out-of-descriptors": "logged"},
    "stale_after_idle": {"idle": "differs"},
    "waits_for_more": {
        "one-byte": "nothing moved",
        "tiny-writes": "nothing moved",
        "dribble": "nothing moved",
        "interleaved": "nothing moved",
        "slow-loris": "a client beside slow ones has 0 bytes back",
    },
}
UNCLEAN = {"large_buffers", "spins_at_its_limit"}  # what they do is shown, not refused
ALLOWED = {"shouts_on_stderr"}  # standard error is a server's own affair, and capped


def run(name, tmp_path, *only, **options):
    path = name if isinstance(name, Path) else BAD / f"{name}.py"
    return check.check(catalog.read(path), only, workdir=tmp_path, **options)


def test_every_bad_server_is_expected_to_fail():
    """A bad server that no test expects to fail would guard nothing."""
    assert {path.stem for path in BAD.glob("*.py")} == EXPECTED.keys() | ALLOWED


def test_every_case_has_a_bad_server():
    """A case that nothing fails might see nothing."""
    tripped = {case for cases in EXPECTED.values() for case in cases}
    assert tripped == {"start", *(case.name for case in check.CASES + check.LONG)}


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_server_fails_its_cases(name, tmp_path, short_kit, monkeypatch):
    """The fault is found, named by its case, and said in words that lead to it."""
    for wait in ("client.PATIENCE_S", "long.ANSWER_S", "long.RETRY_S", "long.RECOVER_S"):
        monkeypatch.setattr(f"c10k.check.{wait}", 1.0)  # they would never answer
    monkeypatch.setattr("c10k.launch.server.STOP_S", 0.5)
    expected = EXPECTED[name]
    only = expected.keys() - {"start"}
    found = run(name, tmp_path, *only, **({} if only else {"ready_s": 2.0}))
    details = {each.case: each.detail for each in found.results if each.verdict != "ok"}
    assert details.keys() == expected.keys()
    assert {
        case: details[case] for case, words in expected.items() if words not in details[case]
    } == {}
    verdict = "unclean" if name in UNCLEAN else "failed"
    assert {each.verdict for each in found.results if each.case in expected} == {verdict}
    assert bool(found.failures) == (verdict == "failed")


def test_later_cases_run_after_a_server_died(tmp_path):
    """A failure costs its own case: the server is started again for the next."""
    results = run("dies_in_service", tmp_path).results
    verdicts = {each.case: each.verdict for each in results}
    assert verdicts["echo-64-kib"] == "ok"
    assert verdicts["echo-1-mib"] == "failed"
    assert verdicts["half-close"] == "ok"
    assert len(verdicts) == len(check.CASES) + 1


def test_faults_of_one_kind_do_not_fail_other_cases(tmp_path):
    """A case tests one thing, so that its name can be trusted."""
    for name in ("relistens", "chatters_on_stdout"):
        assert {each.case for each in run(name, tmp_path).failures} == EXPECTED[name].keys()


def test_a_megabyte_on_standard_error_is_no_fault(tmp_path):
    """Standard error is kept, capped, and does not hurt."""
    assert not run("shouts_on_stderr", tmp_path).failures
    assert (tmp_path / "shouts_on_stderr.log").stat().st_size < launch.LOG_BYTES + 100


def test_a_server_that_hangs_costs_seconds(tmp_path, monkeypatch):
    """The check as a whole is bounded; what was not tried is reported, as failed."""
    path = tmp_path / "hangs.py"
    text = GOOD.read_text().replace("while data := client.recv(65536):\n", "{}\n", 1)
    path.write_text(
        text.format("if data := client.recv(1):").replace(
            "client.sendall(data)", "client.sendall(data); time.sleep(600)"
        )
    )
    monkeypatch.setattr("c10k.check.client.PATIENCE_S", 0.2)
    monkeypatch.setattr("c10k.check.run.BUDGET_S", 1.0)
    began = time.monotonic()
    conformance = run(path, tmp_path)
    assert time.monotonic() - began < 10
    assert len(conformance.results) == len(check.CASES) + 1
    assert conformance.failures[-1].detail.startswith("not tried")


def test_only_the_cases_asked_for_run(tmp_path):
    """`only` selects by name, in the table's order; an unknown name says which are known."""
    results = run(GOOD, tmp_path, "idle", "one-byte").results
    assert [each.case for each in results] == ["start", "one-byte", "idle"]
    results = run(GOOD, tmp_path, "unix").results
    assert [each.case for each in results] == ["start", "unix"]
    with pytest.raises(ValueError, match=r"there is no case 'nonsense'; choose from one-byte"):
        run(GOOD, tmp_path, "nonsense")


def test_what_is_told_is_no_fault(tmp_path):
    """Another read size is the API's affair: the case says it, and nothing follows from it."""
    path = tmp_path / "half_as_much.py"
    path.write_text(GOOD.read_text().replace("65536", "32768"))
    found = run(path, tmp_path, "read-size")
    assert (found.results[-1].verdict, found.failures) == ("informational", ())
    assert "32,768" in found.results[-1].detail


def test_each_result_is_told_as_it_comes(tmp_path):
    """A check of minutes shows how far it is."""
    told = []
    found = run(GOOD, tmp_path, "one-byte", seen=told.append)
    assert tuple(told) == found.results


def test_a_limit_that_was_lowered_is_put_back(tmp_path, short_kit):
    """Running out of something is over when the case is: the next one finds the server well."""
    results = run(
        GOOD, tmp_path, "overflow", "out-of-descriptors", "out-of-threads", "ipv6"
    ).results
    assert {each.verdict for each in results} == {"ok"}


def test_what_a_process_held_goes_with_it(tmp_path, monkeypatch):
    """A forking server's child may end between being listed and being counted."""
    subject = Subject(catalog.read(GOOD), tmp_path / "log", "", 5.0, 0, sys.executable)
    ended = subprocess.Popen(["true"])
    gone = psutil.Process(ended.pid)
    ended.wait()
    monkeypatch.setattr(subject, "processes", lambda: [gone, psutil.Process()])
    assert subject.together(psutil.Process.num_fds) > 0


def test_room_is_counted_in_free_numbers():
    """One high descriptor, left from a crowd, does not make room for the next crowd."""
    os.dup2(0, 5000)
    try:
        assert long._room_for_descriptors(psutil.Process(), 5) < 5000
    finally:
        os.close(5000)


def test_every_case_says_why():
    """Case names are unique, and each has its one sentence."""
    every = check.CASES + check.LONG
    assert len({case.name for case in every}) == len(every)
    assert all(case.why and not case.why.endswith(".") for case in every)


def test_a_pass_is_remembered_until_something_changes(tmp_path):
    """The same file with the same versions is not checked twice; any change is."""
    path = tmp_path / "mine.py"
    path.write_text(GOOD.read_text())
    server, folder = catalog.read(path), tmp_path / "cache"
    assert check.remembered(server, {}, folder) is None
    first = check.check(server, workdir=folder)
    assert not first.failures
    assert check.remembered(server, {}, folder) == first
    assert check.remembered(server, {"gevent": "1"}, folder) is None
    path.write_text(GOOD.read_text() + "\n")
    assert check.remembered(server, {}, folder) is None


def test_a_failure_or_a_part_is_not_remembered(tmp_path):
    """Only a complete pass spares the next check."""
    server = catalog.read(GOOD)
    part = check.check(server, ["one-byte"], workdir=tmp_path)
    assert check.remembered(server, {}, tmp_path) is None
    failed = replace(part, results=(replace(part.results[0], verdict="failed"),))
    remember(server, failed, tmp_path)
    assert check.remembered(server, {}, tmp_path) is None


def test_unclean_is_remembered_as_a_pass(tmp_path):
    """It is timed, so the next session need not ask again."""
    server = catalog.read(GOOD)
    first = check.check(server, workdir=tmp_path)
    unclean = replace(first.results[-1], verdict="unclean")
    found = replace(first, results=(*first.results[:-1], unclean))
    remember(server, found, tmp_path)
    assert check.remembered(server, {}, tmp_path) == found
    assert (found.failures, found.failure) == ((), "")


def test_a_damaged_memory_is_as_good_as_none(tmp_path):
    """A cache file cut short leads to a new check, not to a traceback."""
    server = catalog.read(GOOD)
    conformance = check.check(server, workdir=tmp_path)
    assert check.remembered(server, {}, tmp_path) == conformance
    for place in tmp_path.glob("*.json"):
        place.write_bytes(place.read_bytes()[:40])
    assert check.remembered(server, {}, tmp_path) is None
