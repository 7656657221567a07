"""Guards what people read: the table's cells, escaping, and the JSON that programs read."""

import io
import json

import made
import pytest
from rich.console import Console

from c10k.judge import judge
from c10k.model import ServerUse
from c10k.render import markdown, progress, table, terminal
from c10k.render.table import significant

KEYS = {
    "server", "workload", "clients", "messages_per_s", "latency_p50_us", "latency_p99_us",
    "server_cpu_us_per_message", "memory_per_client_bytes", "connected", "served", "lost",
    "altered", "status", "reason", "limiter",
}  # fmt: skip


def printed(judged, width=None):
    out = io.StringIO()
    Console(file=out, width=width or terminal.width(judged)).print(terminal.render(judged))
    return out.getvalue()


def test_the_json_row_keeps_its_keys():
    """Programs find these keys, flat, JSON-able, with the median under the plain name."""
    rows = [table.as_dict(row) for row in judge(made.session()).rows]
    assert json.loads(json.dumps(rows)) == rows
    for row in rows:
        assert row.keys() >= KEYS
    assert rows[0]["messages_per_s"] == 1000.0
    failed = judge(made.session(measure=made.failed)).rows
    assert table.as_dict(failed[0]).keys() == rows[0].keys()


def test_the_table_has_a_row_for_every_cell_and_every_column():
    """A row per server and client count, with all the figures the README promises."""
    judged = judge(made.session())
    titles = [column.title for column in table.columns(judged, "closed")]
    for title in ("server", "clients", "messages/s", "p50 ms", "p99 ms", "CPU µs/message",
                  "KiB/client", "connect s", "errors", "limiter"):  # fmt: skip
        assert title in titles
    (loads,) = table.tables(judged)
    assert len(loads.lines) == 4
    text = printed(judged)
    assert text.count("alpha") == 2
    assert max(map(len, text.splitlines())) <= terminal.width(judged)


def test_limits_stand_before_numbers():
    """Warnings and reasons are read first."""
    text = printed(judge(made.session(measure=made.failed)))
    assert text.index("SIGKILL") < text.index("alpha\n") if "alpha\n" in text else True
    assert text.index("no difference is claimed") < text.index("connect")


def test_the_fastest_comes_first_and_failures_last():
    """Within a client count rows are sorted by rate; what failed stands below."""

    def measure(trial):
        if trial.server == "gamma":
            return made.failed(trial)
        return made.ok(trial, rate={"alpha": 10.0, "beta": 20.0}[trial.server])

    judged = judge(made.session(["alpha", "beta", "gamma"], [made.load(5)], 2, measure))
    assert [row.server for row in table.rows(judged)] == ["beta", "alpha", "gamma"]


def test_a_bound_is_printed_as_a_bound():
    """A rate that the client limited carries its sign."""
    judged = judge(made.session(measure=lambda t: made.ok(t, client_cpu_share=0.99)))
    assert "≥ 1,000" in printed(judged)


def test_how_evenly_clients_were_served_is_in_every_table_from_100_on():
    """Fairness columns say something from 100 clients up, and nothing below."""
    judged = judge(made.session(loads=[made.load(10), made.load(100)]))
    titles = [column.title for column in table.columns(judged, "closed")]
    for title in ("fairness", "no echo, worst", "silence s"):
        column = table.columns(judged, "closed")[titles.index(title)]
        below, above = (column.cell(row) for row in judged.rows if row.server == "alpha")
        assert (below == table.UNKNOWN, above == table.UNKNOWN) == (True, False)
    few = judge(made.session(loads=[made.load(10)]))
    assert "fairness" not in [column.title for column in table.columns(few, "closed")]


def test_coming_and_going_shows_queue_and_retries():
    """Columns that belong to storm and churn stand only where those are."""
    use = ServerUse(accept_queue_max=4097, listen_overflows=12, threads_max=3)
    storm = made.load(100, kind="storm")
    judged = judge(made.session(loads=[storm], measure=lambda t: made.ok(t, retried=7, server=use)))
    text = printed(judged)
    for figure in ("4,100", "12", "7"):
        assert figure in text
    assert "overflows" not in printed(judge(made.session()))


def test_each_kind_of_load_has_a_table_of_its_own():
    """Figures of different kinds are never one above the other; one kind needs no title."""
    loads = [made.load(100, kind=kind) for kind in ("churn", "closed", "idle", "storm")]
    judged = judge(made.session(loads=loads))
    titles = [each.title.partition(":")[0] for each in table.tables(judged)]
    assert titles == ["Closed loop", "Storm", "Idle", "Churn"]
    assert [each.title for each in table.tables(judge(made.session()))] == [""]


def test_memory_is_a_slope_from_three_counts_on():
    """The second table: bytes per client with their interval, from the readings of all loads."""
    judged = judge(made.session(loads=[made.load(n) for n in (10, 100, 1000)]))
    row, _ = judged.memory
    assert row.pss.per_client == pytest.approx(4096)
    assert row.pss.low <= 4096 <= row.pss.high
    assert "Memory that a client takes" in printed(judged)
    assert "4.00 (4.00 to 4.00)" in markdown.render(judged).replace("\\", "")
    assert judge(made.session()).memory == ()


def test_hostile_names_are_text():
    """A server's name cannot colour the terminal nor break a Markdown table."""
    nasty = "[red]a|b*<script>"
    judged = judge(made.session([nasty], measure=lambda t: made.failed(t, "x|y\n# z")))
    assert nasty in printed(judged, width=200)
    for line in markdown.render(judged).splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == len(table.columns(judged, "closed")) + 1
    assert "<script>" not in markdown.render(judged).replace("\\<", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"),
     (123456, "123,000"), (1234567, "1,230,000"), (99.96, "100"), (-18.14, "-18.1")],
)  # fmt: skip
def test_three_significant_digits(value, text):
    """Figures are printed to the precision that they have."""
    assert significant(value) == text


def test_progress_is_a_line_a_trial_without_a_terminal():
    """In a pipe each trial is one plain line with server, clients, block and what came."""
    out = io.StringIO()
    session = made.session()
    with progress.Lines(Console(file=out, width=200), 8, 2, 60.0) as lines:
        for measurement in session.measurements:
            lines.before(measurement.trial)
            lines.after(measurement)
    said = out.getvalue().splitlines()
    assert len(said) == 8
    assert "block 2 of 2" in said[-1]
    assert "8/8" in said[-1]
    assert "1,000 messages/s" in said[-1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (60, "1 min"), (150, "2 min 30 s"), (3720, "1 h 2 min")]
)
def test_durations_as_people_say_them(seconds, text):
    """Seconds, minutes, hours."""
    assert progress.duration(seconds) == text


def ladder():
    """Two servers over four counts, one twice as fast."""
    return judge(
        made.session(
            loads=[made.load(n) for n in (1, 10, 100, 1000)],
            measure=lambda t: made.ok(t, rate=2000.0 if t.server == "beta" else 1000.0),
        )
    )


def test_the_ladder_is_a_line_a_server_with_its_shape():
    """The same figures, turned: counts across, and a small bar for each."""
    found = {each.title.partition(":")[0]: each for each in table.tables(ladder())}
    lines = {line.cells[0]: line.cells for line in found["The ladder"].lines}
    assert lines["beta"][1] == "████"
    assert lines["alpha"][1] == "▅▅▅▅"
    assert lines["alpha"][2:] == ("1,000",) * 4
    assert "The ladder" not in printed(judge(made.session()))


def test_a_view_sorts_groups_and_picks():
    """Columns by the beginning of their title; groups stay together when sorted."""
    judged = ladder()
    shown = table.tables(judged, table.View(sort="messages", columns=("p99",), group="server"))[0]
    assert [title for title, _ in shown.headings] == ["clients", "server", "p99 ms"]
    assert [line.cells[1] for line in shown.lines] == ["alpha"] * 4 + ["beta"] * 4
    fewer = table.only(judged, {"beta"}, {10, 100})
    assert {(row.server, row.clients) for row in fewer.rows} == {("beta", 10), ("beta", 100)}
    with pytest.raises(table.ViewError, match=r"no column is named 'beauty'; there are load"):
        table.tables(judged, table.View(sort="beauty"))


def test_sorting_puts_the_greatest_first_and_the_unknown_last():
    """Numbers are compared as numbers, whatever stands around them."""
    cells = ["≥ 1,000 ±3 %", "–", "20.5", "0.5", "-3"]
    assert sorted(cells, key=lambda cell: -table._magnitude(cell)) == [
        "≥ 1,000 ±3 %", "20.5", "0.5", "-3", "–",
    ]  # fmt: skip
