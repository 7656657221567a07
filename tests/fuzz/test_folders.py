"""Drives what is read of folders, sessions and claims, through judging to every format."""

import io
from pathlib import Path

import made
import msgspec
import nonsense
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace
from nonsense import fuzzed, hurt
from rich.console import Console
from test_export import ok
from test_texts import one_line

from c10k import claims, judge, machine
from c10k.histograms import latencies
from c10k.judge import compare, comparison
from c10k.model import ClaimsHead, Figure, Outcome, Part, ServerUse
from c10k.render import comparisons, export, html, markdown, pictures, table, terminal, verdicts
from c10k.run import begin, store

pytestmark = pytest.mark.once


def measured(trial):
    """A trial in which everything was measured, and some went wrong."""
    bins = tuple((index * 20_000_000, index * 7) for index in range(120))
    server = ServerUse(1.0, made.memory(10**7), made.memory(10**8), 4, 9, 3, 4096, 0)
    if trial.server == "beta" and trial.load.clients == 10:
        return made.failed(trial, "9 of 10 clients served")
    return ok(trial, bins=bins, server=server, errors={"refused": 1}, gil=True, notes=("a note",))


KINDS = ("closed", "open", "idle", "storm", "churn")
SESSIONS = [
    made.session(
        ("alpha", "beta"),
        [
            made.load(10, kind="closed"),
            made.load(20, kind=kind, **{"rate": 9.0} if kind == "open" else {}),
        ],
        3,
        measured,
        control=kind == "closed",
        alpha={"tier": "floor"},
    )
    for kind in KINDS
] + [made.session(["alpha"], [made.load(n) for n in (1, 2, 3)], 2, measured)]
SESSIONS = [replace(each, environment=machine.environment()) for each in SESSIONS]
HEADS = [
    {key: value for key, value in msgspec.to_builtins(each).items() if key != "measurements"}
    for each in SESSIONS
]
SEARCH = {"least": 1, "most": 64}
HEADS.append({**HEADS[1], "plan": {**HEADS[1]["plan"]}})
HEADS[-1]["plan"]["workload"] = {**HEADS[1]["plan"]["workload"], "search": SEARCH}
TRIALS = [[msgspec.to_builtins(m) for m in each.measurements] for each in SESSIONS]
TRIALS.append(TRIALS[1])
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


def write(folder, head, trials, end=None):
    folder.mkdir(exist_ok=True)
    (folder / store.HEAD).write_bytes(head)
    (folder / store.TRIALS).write_bytes(trials)
    (folder / store.FINISHED).unlink(missing_ok=True)
    if end is not None:
        (folder / store.FINISHED).write_bytes(end)
    return folder


def as_folder(folder, which, trials):
    """A sound session's folder, with so many of its trials."""
    lines = (nonsense.as_json(each) + b"\n" for each in TRIALS[which][:trials])
    return write(folder, nonsense.as_json(HEADS[which]), b"".join(lines))


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
    judged = judge.judge(found)
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
    exported("hdr", found, judge.judge(found))
    drawn, pictures._chart = pictures._chart, lambda *_, **__: "<svg></svg>"
    try:
        page = html.render([html.PageSession("p", found, judge.judge(found))])
        assert page.count("<script") == page.count("</script>") == 1
    except latencies.HistogramError as error:
        one_line(error)
    finally:
        pictures._chart = drawn


FIGURES = (Figure("took", 1.5, 1.0, 2.0, 5, "s"), Figure("so", 3, None, None, 5, "of 5 times"))
PARTS = (Part("a part", "supported", FIGURES), Part("shown beside it", "", FIGURES[:1]))
SAMPLES = {"took": (1.0, 1.5, 2.0)}
CLAIMS = [
    msgspec.to_builtins(each)
    for each in (
        ClaimsHead(claims.SCHEMA, "0", "2026-01-01", True, "", {"python": {"version": "3.11"}}),
        Outcome("it", "Words.", "Do.", "Rule.", "supported", PARTS, "why", SAMPLES, 2.0),
    )
]


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
