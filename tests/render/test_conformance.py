"""Guards how a check's results are shown: as lines that come one by one, and as JUnit XML."""

from xml.etree import ElementTree

from c10k.model import CaseResult, Conformance
from c10k.render import conformance

RESULTS = (
    CaseResult("start", "ok", took_s=0.25),
    CaseResult("churn", "failed", 'it held <1,000> & "more"', took_s=2.0),
    CaseResult("read-size", "informational", "it takes 32,768 bytes"),
    CaseResult("socket-options", "unclean", "SO_KEEPALIVE is 1, not 0"),
)
FOUND = Conformance("mine_sockets", "2026-01-01T00:00:00+00:00", "0" * 16, RESULTS)


def suites(found, not_run):
    return ElementTree.fromstring(conformance.junit(found, not_run).encode())


def test_lines_stand_under_their_heading():
    """Widths are known beforehand, so that lines can be shown as they come."""
    shown = conformance.columns(["mine_sockets"], ["socket-options"])
    lines = [shown.heading().plain, *(shown.line("mine_sockets", each).plain for each in RESULTS)]
    verdict_at = lines[0].index("verdict")
    for line, result in zip(lines[1:], RESULTS, strict=True):
        assert line[verdict_at:].startswith(result.verdict)
        assert line.endswith(result.detail or " s")


def test_only_what_failed_fails_a_build():
    """failed → failure; unclean → skipped, with its message; told → system-out; ok → nothing."""
    (suite,) = suites([FOUND], {})
    kinds = {test.get("name"): [each.tag for each in test] for test in suite}
    assert kinds == {
        "start": [],
        "churn": ["failure"],
        "read-size": ["system-out"],
        "socket-options": ["skipped"],
    }
    assert suite.find(".//failure").get("message") == 'it held <1,000> & "more"'
    assert suite.find(".//skipped").get("message") == "unclean: SO_KEEPALIVE is 1, not 0"
    assert [suite.get(key) for key in ("name", "tests", "failures", "skipped", "time")] == [
        "mine_sockets",
        "4",
        "1",
        "1",
        "2.250",
    ]


def test_a_server_that_could_not_be_tried_is_an_error():
    """A framework that is missing does not look like a pass."""
    (suite,) = suites([], {"curio_sockets": "curio is not installed"})
    assert suite.find(".//error").get("message") == "not run: curio is not installed"
    assert suite.get("errors") == "1"
