"""Conformance → lines for a terminal, printed as they come, and JUnit XML.

JUnit has four results: passed, skipped, failed and error. A failed case is a failure. An
unclean case is skipped with a message: every viewer shows it, and no build fails because of
it. An informational case passes, with its detail in system-out. A server that could not be
tried is an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree

from msgspec import Struct
from rich.text import Text

from ..model import CaseResult, Conformance
from ..text import plain

_STYLES = {"failed": "red", "unclean": "yellow", "informational": "cyan"}


class Columns(Struct, frozen=True):
    """The widths of the columns, known before the first line."""

    server: int
    case: int

    def heading(self) -> Text:
        return Text(self._line("server", "case", "verdict", "took", "detail"), style="bold")

    def line(self, server: str, result: CaseResult) -> Text:
        took = f"{result.took_s:.1f} s"
        words = self._line(server, result.case, result.verdict, took, result.detail)
        return Text(words, style=_STYLES.get(result.verdict, ""))

    def _line(self, server: str, case: str, verdict: str, took: str, detail: str) -> str:
        start = f"{server:{self.server}}  {case:{self.case}}  {verdict:13}  {took:>7}"
        return plain(f"{start}  {detail}").rstrip()


def columns(servers: Iterable[str], cases: Iterable[str]) -> Columns:
    """Columns wide enough for these names."""
    return Columns(max(map(len, ["server", *servers])), max(map(len, ["start", *cases])))


def junit(found: Sequence[Conformance], not_run: Mapping[str, str]) -> str:
    """One suite per server, one test per case. not_run: server → why it could not be tried."""
    root = ElementTree.Element("testsuites", name="c10k check")
    for each in found:
        suite = _suite(root, each.server, each.results)
        suite.set("timestamp", each.checked_at)
        for result in each.results:
            _test(suite, each.server, result)
    for server, reason in not_run.items():
        suite = ElementTree.SubElement(root, "testsuite", name=server, tests="1", errors="1")
        test = ElementTree.SubElement(suite, "testcase", classname=server, name="start")
        ElementTree.SubElement(test, "error", message=plain(f"not run: {reason}"))
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _suite(
    root: ElementTree.Element, server: str, results: Sequence[CaseResult]
) -> ElementTree.Element:
    verdicts = [result.verdict for result in results]
    return ElementTree.SubElement(
        root,
        "testsuite",
        name=server,
        tests=str(len(results)),
        failures=str(verdicts.count("failed")),
        skipped=str(verdicts.count("unclean")),
        errors="0",
        time=f"{sum(result.took_s for result in results):.3f}",
    )


def _test(suite: ElementTree.Element, server: str, result: CaseResult) -> None:
    test = ElementTree.SubElement(
        suite, "testcase", classname=server, name=result.case, time=f"{result.took_s:.3f}"
    )
    detail = plain(result.detail)  # XML does not allow control characters
    if result.verdict == "failed":
        ElementTree.SubElement(test, "failure", message=detail)
    elif result.verdict == "unclean":
        ElementTree.SubElement(test, "skipped", message=f"unclean: {detail}")
    elif detail:
        ElementTree.SubElement(test, "system-out").text = detail
