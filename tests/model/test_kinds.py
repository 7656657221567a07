"""What is known of a kind of load stands in one table: another kind changes nothing else."""

import typing

import made
import pytest

from c10k import judge
from c10k.judge.figures import FIGURES
from c10k.model import KINDS, Kind, KindFacts
from c10k.plan import gates
from c10k.render import html, markdown, records, table
from c10k.run import drive

pytestmark = pytest.mark.once


def test_every_kind_has_its_row_and_every_row_its_kind():
    """The names that a file may use and the rows of the table are the same."""
    assert set(typing.get_args(Kind)) == set(KINDS)


@pytest.mark.parametrize("facts", KINDS.values(), ids=KINDS)
def test_a_row_names_figures_that_there_are(facts):
    """What it is ranked by is a figure; bounds are signs of figures that a table shows."""
    assert facts.primary in FIGURES
    shown = {*FIGURES, "clients_without_echo", "cpu_over_floor"}
    assert set(facts.bounds) <= shown
    assert set(facts.bounds.values()) <= {"≥ ", "≤ ", "~ "}


def test_another_kind_is_one_row(monkeypatch):
    """Planned, gated, judged, ranked and shown by its row alone: no other line knows its name."""
    burst = KindFacts(
        title="Burst: all clients send at once, then wait",
        primary="latency_p99_us",
        words=("sooner", "later"),
        in_rounds=True,
        tail=True,
        bounds={"latency_p99_us": "≤ "},
    )
    monkeypatch.setitem(KINDS, "burst", burst)
    load = made.load(100, kind="burst", duration_s=2.0)
    assert load.label == "burst 64 B"
    assert drive.slice_s(load, 0.5, 0.1) == (10.0, False)  # 20 round trips

    def measure(trial):
        late = 3.0 if trial.server == "beta" else 1.0
        busy = 0.95 if trial.server == "gamma" else 0.3
        latency = made.Latency(20_000, 1e3 * late, 2e3 * late, 3e3 * late, None, 9e3)
        measured = made.ok(trial, latency=latency, client_cpu_share=busy)
        assert gates.gates(measured) == ()
        return measured

    session = made.session(
        ["alpha", "beta", "gamma"], [load, made.load(100)], 12, measure, control=True
    )
    judged = judge(session)
    rows = {row.server: row for row in judged.rows if row.load == load}
    assert rows["beta"].verdict == "slower"
    assert rows["gamma"].bound and rows["gamma"].limiters[0].kind == "client CPU"
    titles = [each.title for each in table.tables(judged)]
    assert burst.title in titles
    text = markdown.render(judged)
    assert "| later" in text and "≤ 3.00" in text
    assert "burst 64 B" in html.render([html.PageSession("it", session, judged)], [], None)
    assert {"burst 64 B", "closed 64 B"} == {each["load"] for each in records.records(judged)}
