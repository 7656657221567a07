"""Guards what is shown of a server on several interpreters: side by side, and without the lock."""

import made
import pytest
from msgspec.structs import replace

from c10k.judge import judge
from c10k.model import Runtime
from c10k.render import markdown, panels, pictures, sentences, table

PGO = ("--enable-optimizations", "--with-lto")
BUILDS = {"3.13": PGO, "3.13t": (*PGO, "--disable-gil")}
NAMES = [f"{name}@{label}" for name in ("alpha", "beta") for label in BUILDS]


def session(measure, blocks=6, builds=BUILDS):
    """Two servers on a pair of interpreters, one without its lock."""
    loads = (made.load(100), made.load(1_000, kind="idle"))
    on = {name: {"interpreter": name.partition("@")[2]} for name in NAMES}
    found = made.session(NAMES, loads, blocks, measure, **on)
    runtimes = {
        name: Runtime("", "3.13.5", build=tuple(builds[name.partition("@")[2]])) for name in NAMES
    }
    return replace(found, runtimes=runtimes)


def measured(trial):
    """Without the lock alpha has twice the rate, and beta half of it."""
    free = trial.server.endswith("t")
    factor = {"alpha": 2.0, "beta": 0.5}[trial.server.partition("@")[0]] if free else 1.0
    noise = 1 + 0.001 * trial.block
    return made.ok(trial, rate=1000.0 * factor * noise, python="3.13.5", gil=not free)


def test_a_server_without_the_lock_is_compared_with_itself():
    """A planted effect comes out, within blocks, under the loads that have the figure."""
    rows = {row.server: row for row in judge(session(measured)).rows if row.load.facts.closed_loop}
    assert rows["alpha@3.13t"].without_lock.median == pytest.approx(2.0)
    assert rows["beta@3.13t"].without_lock.median == pytest.approx(0.5)
    assert rows["alpha@3.13t"].without_lock.low <= 2.0 <= rows["alpha@3.13t"].without_lock.high
    assert rows["alpha@3.13"].without_lock is None
    assert {row.contender for row in rows.values()} == {"alpha", "beta"}


@pytest.mark.parametrize(
    "change",
    [
        lambda m: replace(m, python="3.14.1") if m.trial.server.endswith("t") else m,
        lambda m: replace(m, server=replace(m.server, gil=True)),
        lambda m: made.failed(m.trial) if m.trial.server.endswith("@3.13") else m,
    ],
    ids=["another version", "the lock came on", "failed with the lock"],
)
def test_only_the_lock_may_differ(change):
    """Otherwise the ratio would show something else, or a figure that does not stand."""
    judged = judge(session(lambda trial: change(measured(trial))))
    assert {row.without_lock for row in judged.rows} == {None}


def test_another_build_is_not_compared():
    """An interpreter with the lock and without optimisation differs in two things."""
    judged = judge(session(measured, builds=BUILDS | {"3.13": ("-O3",)}))
    assert {row.without_lock for row in judged.rows} == {None}


def test_the_table_has_a_column_group_for_each_interpreter():
    """One line per server; its figures on each interpreter, then the ratio."""
    judged = judge(session(measured))
    titles = [each.title for each in table.tables(judged)]
    assert "By interpreter: closed 64 B, 100 clients" in titles
    shown = next(each for each in table.tables(judged) if each.title.endswith("100 clients"))
    assert [title for title, _ in shown.headings] == [
        "server", "3.13 messages/s", "3.13 fairness", "3.13t messages/s", "3.13t fairness",
        "without the lock",
    ]  # fmt: skip
    cells = {line.cells[0]: line.cells for line in shown.lines}
    assert cells["alpha"][1::2][:2] == ("1,000", "2,000")
    assert cells["alpha"][-1].startswith("2.000 (")
    assert any("Without the lock:" in line for line in sentences.footers(judged))
    assert "3.13.5 PGO LTO, no GIL" in markdown.render(judged)


@pytest.mark.parametrize(
    ("busy", "sign"),
    [("3.13t", "≥ "), ("3.13", "≤ "), ("", ""), ("3.13 3.13t", "~ ")],
)
def test_a_ratio_of_bounds_is_a_bound(busy, sign):
    """A rate that the client limited is at least that; below the line it makes a ratio smaller."""

    def measure(trial):
        limited = trial.server.partition("@")[2] in busy.split()
        return replace(measured(trial), client_cpu_share=0.99 if limited else 0.5)

    judged = judge(session(measure))
    shown = next(each for each in table.tables(judged) if each.title.endswith("100 clients"))
    assert {line.cells[-1][:2].strip("0123456789.") for line in shown.lines} == {sign}


def test_one_interpreter_has_no_such_table():
    alone = made.session(["alpha@3.13", "beta@3.13"])
    assert not any("By interpreter" in each.title for each in table.tables(judge(alone)))


def test_the_picture_has_a_mark_for_each_server_on_each_interpreter():
    """What failed is drawn pale; nothing is left out."""

    def measure(trial):
        if trial.server == "beta@3.13t" and trial.block == 0 and trial.load.facts.closed_loop:
            return replace(measured(trial), status="failed", reason="it broke")
        return measured(trial)

    judged = judge(session(measure))
    throughput = next(panel for panel in panels.PANELS if panel.title == "throughput")
    points = panels.points(judged, throughput)
    assert {(p["server"], p["interpreter"]) for p in points} == {
        tuple(name.split("@")) for name in NAMES
    }
    pale = [p for p in points if p["compared"] == "no"]
    assert [(p["server"], p["interpreter"]) for p in pale] == [("beta", "3.13t")]
    assert "it broke" in pale[0]["says"]
    drawn = {each.name: each for each in pictures.pictures(session(measure), judged)}
    assert drawn["interpreters"].svg.startswith("<svg")
    assert "memory: KiB/client, idle 64 B, 1,000 clients" in drawn["interpreters"].says
