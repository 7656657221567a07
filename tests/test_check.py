"""Guards the conformance kit: each bad server fails, and the case that says why is named."""

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from c10k import catalog, check, launch, places

BAD = Path(__file__).parent / "bad_servers"
GOOD = places.SERVERS / "threads_sockets.py"

# bad server → (the case it must fail, words that the detail must hold)
EXPECTED = {
    "loses_after_half_close": ("half-close", "end of stream"),
    "stale_after_idle": ("idle", "differs"),
    "shares_buffer": ("interleaved", "differs"),
    "relistens": ("backlog", "100"),
    "buffers_without_bound": ("slow-reader", "memory grew"),
    "dies_in_service": ("echo-1-mib", "exited with code 3: the last word"),
    "hangs_at_start": ("start", "no echo after it was started: still waiting for a licence"),
    "chatters_on_stdout": ("silence", "hello"),
    "ignores_sigterm": ("sigterm", "2 s after SIGTERM"),
}
ALLOWED = {"shouts_on_stderr"}  # standard error is a server's own affair, and capped


def run(name, tmp_path, *only, **options):
    path = name if isinstance(name, Path) else BAD / f"{name}.py"
    return check.check(catalog.read(path), only, workdir=tmp_path, **options)


def test_every_bad_server_is_expected_to_fail():
    """A bad server that no test expects to fail would guard nothing."""
    assert {path.stem for path in BAD.glob("*.py")} == EXPECTED.keys() | ALLOWED


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_server_fails_its_case(name, tmp_path):
    """The fault is found, named by its case, and said in words that lead to it."""
    case, words = EXPECTED[name]
    options = {"ready_s": 2.0} if case == "start" else {}
    failures = {each.case: each.detail for each in run(name, tmp_path, **options).failures}
    assert case in failures
    assert words in failures[case]


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
        assert [each.case for each in run(name, tmp_path).failures] == [EXPECTED[name][0]]


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
    with pytest.raises(ValueError, match=r"no case is named 'nonsense'; there are one-byte"):
        run(GOOD, tmp_path, "nonsense")


def test_every_case_says_why():
    """Case names are unique, and each has its one sentence."""
    assert len({case.name for case in check.CASES}) == len(check.CASES)
    assert all(case.why and not case.why.endswith(".") for case in check.CASES)


def test_a_pass_is_remembered_until_something_changes(tmp_path):
    """The same file with the same versions is not checked twice; any change is."""
    path = tmp_path / "mine.py"
    path.write_text(GOOD.read_text())
    server, folder = catalog.read(path), tmp_path / "cache"
    assert check.remembered(server, {}, folder) is None
    first = check.checked(server, {}, folder)
    assert not first.failures
    assert check.checked(server, {}, folder) == first
    assert check.remembered(server, {"gevent": "1"}, folder) is None
    path.write_text(GOOD.read_text() + "\n")
    assert check.remembered(server, {}, folder) is None


def test_a_failure_or_a_part_is_not_remembered(tmp_path):
    """Only a complete pass spares the next check."""
    server = catalog.read(GOOD)
    part = check.check(server, ["one-byte"], workdir=tmp_path)
    check.remember(server, part, tmp_path / "cache")
    failed = replace(part, results=(replace(part.results[0], verdict="failed"),))
    check.remember(server, failed, tmp_path / "cache")
    assert check.remembered(server, {}, tmp_path / "cache") is None


def test_a_damaged_memory_is_as_good_as_none(tmp_path):
    """A cache file cut short leads to a new check, not to a traceback."""
    server = catalog.read(GOOD)
    conformance = check.checked(server, {}, tmp_path)
    assert check.remembered(server, {}, tmp_path) == conformance
    for place in tmp_path.glob("*.json"):
        place.write_bytes(place.read_bytes()[:40])
    assert check.remembered(server, {}, tmp_path) is None
