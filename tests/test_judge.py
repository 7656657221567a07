"""Guards the judge: medians over blocks, failures as rows, bounds said as bounds."""

from collections import Counter

import made
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k.judge import judge, limiter, spread
from c10k.model import Measurement, ServerUse


def one_row(measure, blocks=3):
    """The row of one server under one load."""
    judged = judge(made.session(["alpha"], [made.load(100)], blocks, measure))
    (row,) = judged.rows
    return row


def test_a_figure_is_the_median_over_blocks_with_its_range():
    """Per trial, then over blocks: never pooled, never the best."""
    rates = [900.0, 1000.0, 2000.0]
    row = one_row(lambda t: made.ok(t, rate=rates[t.block]))
    seen = row.messages_per_s
    assert (seen.median, seen.least, seen.greatest) == (1000.0, 900.0, 2000.0)
    assert row.blocks == 3


def test_cost_and_memory_are_what_arithmetic_says():
    """CPU seconds over messages; growth of memory over clients."""
    row = one_row(lambda t: made.ok(t, rate=500.0, cpu_s=1.0, client_cpu_share=0.2))
    assert row.server_cpu_us_per_message.median == pytest.approx(1000.0)
    assert row.client_cpu_us_per_message.median == pytest.approx(400.0)
    assert row.memory_per_client_bytes.median == 4096


def test_a_client_that_was_busy_bounds_the_rate():
    """Above nine tenths of a core the client is the limit, and the row says at least."""
    row = one_row(lambda t: made.ok(t, client_cpu_share=0.95))
    assert row.bound
    assert row.limiter == "client CPU"
    judged = judge(made.session(measure=lambda t: made.ok(t, client_cpu_share=0.95)))
    assert any(line.startswith("≥") for line in judged.warnings)


@pytest.mark.parametrize(
    ("client_share", "server_s", "says"),
    [(0.5, 1.9, "server CPU"), (0.95, 1.9, "client CPU"), (0.5, 0.2, "nothing found")],
)
def test_the_limiter_is_named(client_share, server_s, says):
    """What stopped a trial from going faster."""
    trial = made.session().plan.trials[0]
    assert limiter(made.ok(trial, cpu_s=server_s, client_cpu_share=client_share)) == says


def test_a_failure_keeps_its_row_and_reason():
    """One bad block of three: the row is failed, says which, and keeps the good figures."""
    row = one_row(lambda t: made.failed(t, "it died") if t.block == 1 else made.ok(t))
    assert (row.status, row.reason, row.blocks) == ("failed", "block 2: it died", 2)
    assert row.messages_per_s.median == 1000.0


def test_past_its_limit_a_server_shows_what_it_did():
    """All blocks incomplete: how many were served, and the figures of those."""
    row = one_row(
        lambda t: made.ok(t, status="failed", reason="80 of 100 clients served", served=80)
    )
    assert (row.status, row.served) == ("failed", 80)
    assert row.messages_per_s is not None


def test_what_cannot_run_is_a_row():
    """A missing framework has its row, with what to do."""
    row = one_row(lambda t: made.failed(t, "pip install trio", "not run"))
    assert (row.status, row.reason) == ("not run", "pip install trio")
    assert row.messages_per_s is None


def test_an_unfinished_session_says_so():
    """What was measured is shown, with how much is missing."""
    whole = made.session()
    cut = msgspec.structs.replace(whole, measurements=whole.measurements[:3])
    judged = judge(cut)
    assert not judged.finished
    assert "3 of 8 trials" in judged.warnings[0]
    assert judge(whole).finished


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_spread_holds_its_values(values):
    """Least ≤ median ≤ greatest, and None is no value."""
    seen = spread([None, *values])
    assert seen.least <= seen.median <= seen.greatest
    assert spread([None]) is None


numbers = st.none() | st.integers(0, 10**9)
figures = st.none() | st.floats(0, 1e12)


@given(st.data())
def test_no_measurement_crashes_the_judge(data):
    """Whatever is unknown or absurd in a measurement, there is a row for each cell."""

    def anything(trial):
        draw = data.draw
        return Measurement(
            trial,
            draw(st.sampled_from(["ok", "failed", "not run"])),
            draw(st.text(max_size=5)),
            connected=draw(numbers),
            served=draw(numbers),
            messages=draw(numbers),
            messages_per_s=draw(figures),
            duration_s=draw(figures),
            client_cpu_share=draw(figures),
            lost=draw(numbers),
            errors=draw(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2)),
            server=ServerUse(
                cpu_s=draw(figures), pss_before_bytes=draw(numbers), pss_after_bytes=draw(numbers)
            ),
        )

    session = made.session(measure=anything)
    rows = judge(session).rows
    cells = Counter((t.server, t.load.clients) for t in session.plan.trials)
    assert {(row.server, row.clients) for row in rows} == set(cells)
