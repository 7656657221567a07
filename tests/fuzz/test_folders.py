"""Drives what is read of folders, sessions and claims, through judging to every format."""

import io
from pathlib import Path

import nonsense
import pytest
from folders import CLAIMS, HEADS, SESSIONS, TRIALS, write
from hypothesis import strategies as st
from nonsense import fuzzed, hurt, one_line
from rich.console import Console

from c10k import claims, machine
from c10k.histograms import latencies
from c10k.judge import compare, comparison, judge
from c10k.render import comparisons, export, html, markdown, pictures, table, terminal, verdicts
from c10k.run import begin, store

pytestmark = pytest.mark.once


END = {"finished_at": "2026-01-02T03:04:05+00:00", "trials": 3, "sha256": "0" * 64}


@st.composite
def folders(draw):
    """(session.json, trials.jsonl, finished.json or None), at least one of them hurt."""
    which = draw(st.integers(0, len(HEADS) - 1))
    head, trials = nonsense.as_json(HEADS[which]), TRIALS[which]
    lines = [nonsense.as_json(each) for each in trials]
    end = None
    match draw(st.integers(0, 5)):
        case 0:
            end = draw(hurt([END]))
        case 1 | 2:
            head = draw(hurt([HEADS[which]]))
        case _:
            for _ in range(draw(st.integers(1, 3))):
                at = draw(st.integers(0, len(lines) - 1))
                lines[at] = draw(hurt([trials[at]]))
    content = b"\n".join(lines) + b"\n"
    return head, draw(nonsense.torn(st.just(content))) if which == 3 else content, end


def printed(shown):
    """What a terminal gets, checked: only printable characters and ends of lines."""
    out = io.StringIO()
    Console(file=out, width=400).print(shown)
    assert all(line.isprintable() for line in out.getvalue().split("\n"))
    return out.getvalue()


def exported(form, found, judged):
    """No file of a format is outside of the folder that is written to."""
    try:
        for name in export.FORMATS[form](found, judged):
            assert (Path.cwd() / "out" / name).resolve().is_relative_to(Path.cwd() / "out")
    except (export.ExportError, latencies.HistogramError) as error:
        one_line(error)


@fuzzed("session folders", folders(), quick=150, long=20_000)
def test_sessions(files):
    """A folder is shown in every format, or refused in one line; nothing leaves its folder."""
    try:
        found = store.load(write(Path("s"), *files))
    except store.StoreError as error:
        one_line(error)
        return
    judged = judge(found)
    printed(terminal.render(judged))
    printed(terminal.render(judged, table.View("p99", ("p50", "errors"), "server")))
    assert all(line.isprintable() for line in markdown.render(judged).split("\n"))
    html.verdict(judged)
    begin.changes(found, (), {s.name: "" for s in found.plan.servers}, found.runtimes)
    machine.differences(found.environment, SESSIONS[0].environment)
    for form in export.FORMATS.keys() - {"hdr"}:
        exported(form, found, judged)
    for other in (found, SESSIONS[0]):
        try:
            compared = compare.sessions([found], [other], ("a", "b"))
            printed(terminal.grid(comparisons.compared(compared)))
            printed(terminal.compared(compared, compared.warnings))
        except comparison.NothingInCommon as error:
            one_line(error)


@fuzzed("session folders, as a page and as histograms", folders(), quick=10, long=600)
def test_pages(files):
    """The page is whole, whatever the session says; its pictures are drawn elsewhere."""
    try:
        found = store.load(write(Path("p"), *files))
    except store.StoreError:
        return
    exported("hdr", found, judge(found))
    drawn, pictures._chart = pictures._chart, lambda *_, **__: "<svg></svg>"
    try:
        page = html.render([html.PageSession("p", found, judge(found))])
        assert page.count("<script") == page.count("</script>") == 1
    except latencies.HistogramError as error:
        one_line(error)
    finally:
        pictures._chart = drawn


@fuzzed(
    "claims folders",
    st.tuples(
        hurt(CLAIMS[:1]) | st.just(nonsense.as_json(CLAIMS[0])),
        hurt(CLAIMS[1:]) | st.just(nonsense.as_json(CLAIMS[1])),
    ),
    quick=150,
    long=20_000,
)
def test_claims(lines):
    """Outcomes are shown or refused in one line."""
    Path("c").mkdir(exist_ok=True)
    (Path("c") / claims.FILE).write_bytes(b"\n".join(lines) + b"\n")
    try:
        found = verdicts.Outcomes("c", *claims.load(Path("c")))
    except claims.ClaimError as error:
        one_line(error)
        return
    printed(verdicts.on_terminal(found))
    assert all(line.isprintable() for line in verdicts.as_markdown(found).split("\n"))
    html._claims(found)
