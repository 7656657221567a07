"""Guards what people read: the table's cells, escaping, and the JSON that programs read."""

import io
import json
import math

import made
import pytest
from msgspec.structs import replace
from rich.console import Console

from c10k.judge import judge
from c10k.model import Latency, Ratio, Runtime, ServerUse
from c10k.render import columns, markdown, numbers, progress, records, sentences, table, terminal
from c10k.render.numbers import significant

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
    rows = [records.as_dict(row) for row in judge(made.session()).rows]
    assert json.loads(json.dumps(rows)) == rows
    for row in rows:
        assert row.keys() >= KEYS
    assert rows[0]["messages_per_s"] == 1000.0
    failed = judge(made.session(measure=made.failed)).rows
    assert records.as_dict(failed[0]).keys() == rows[0].keys()


def test_the_table_has_a_row_for_every_cell_and_every_column():
    """A row per server and client count, with all the figures the README promises."""
    judged = judge(made.session())
    titles = [column.title for column in columns.columns(judged, "closed")]
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
    before, rule, numbers = text.partition("─" * 20)
    assert rule
    assert "SIGKILL" in before
    assert "no difference is claimed" in before
    assert numbers.count("alpha") == 2
    assert "SIGKILL" not in numbers


def test_one_line_says_what_is_alike_under_several_loads():
    """A server that cannot run is one line and not one for each load; so is a shared note."""
    missing = "cffi cannot be built"

    def measure(trial):
        if trial.server == "alpha":
            return made.failed(trial, missing, "not run")
        return made.ok(trial, notes=("imported through a shim",))

    told = sentences.remarks(judge(made.session(measure=measure)))
    assert [line for line in told if missing in line] == [
        f"alpha, under every load, not run: {missing}"
    ]
    assert [line for line in told if "shim" in line] == ["beta: imported through a shim"]
    both = sentences.remarks(judge(made.session(measure=lambda t: made.ok(t, notes=("old",)))))
    assert "alpha, beta: old" in both


def test_the_fastest_comes_first_and_failures_last():
    """Within a client count rows are sorted by rate; what failed stands below."""

    def measure(trial):
        if trial.server == "gamma":
            return made.failed(trial)
        return made.ok(trial, rate={"alpha": 10.0, "beta": 20.0}[trial.server])

    judged = judge(made.session(["alpha", "beta", "gamma"], [made.load(5)], 2, measure))
    assert [row.server for row in columns.rows(judged)] == ["beta", "alpha", "gamma"]


def test_a_bound_is_printed_as_a_bound():
    """A rate that the client limited carries its sign."""
    judged = judge(made.session(measure=lambda t: made.ok(t, client_cpu_share=0.99)))
    assert "≥ 1,000" in printed(judged)


def test_whatever_the_client_bounds_carries_its_sign():
    """Rates at least, latencies and waiting at most; what a message cost is not at its limit."""
    load = made.load(100, kind="closed")
    judged = judge(made.session(loads=[load], measure=lambda t: made.ok(t, client_cpu_share=0.99)))
    (shown,) = table.tables(judged)
    cells = dict(zip([title for title, _ in shown.headings], shown.lines[0].cells, strict=True))
    assert cells["messages/s"].startswith("≥ ")
    for title in ("p50 ms", "p99 ms", "silence s"):
        assert cells[title].startswith("≤ "), title
    assert cells["no echo, worst"] == "0"  # which nothing is less than
    assert cells["fairness"].startswith("≥ ")
    assert cells["CPU µs/message"].startswith("~ ")
    assert cells["connect s"] == "0.5"
    storm = judge(
        made.session(
            loads=[made.load(100, kind="storm")],
            measure=lambda t: made.ok(t, client_cpu_share=0.85),
        )
    )
    text = printed(storm)
    assert "≤ 2.00" in text
    assert "≤ 0.5" in text
    late = made.load(100, kind="open", rate=1000.0, arrivals="poisson")
    lag = Latency(20_000, 1.0, 1.0, 900.0, None, 900.0)
    text = printed(
        judge(made.session(loads=[late], measure=lambda t: made.ok(t, schedule_lag=lag)))
    )
    assert "≤ 1.00" in text
    assert "≤ 2.00" in text


def test_what_is_compared_with_nothing_stands_in_brackets():
    """A failed row says how many blocks were good, a gated one why; both are last and marked."""

    def measure(trial):
        if trial.server == "alpha" and trial.block == 1:
            return made.failed(trial, "it died")
        rate = {"alpha": 9e3, "beta": 8e3, "gamma": 1e3}[trial.server]
        gates = (made.gate("little"),) if trial.server == "beta" else ()
        return made.ok(trial, rate=rate, gates=gates)

    judged = judge(made.session(["alpha", "beta", "gamma"], [made.load(5)], 3, measure))
    text = printed(judged)
    assert [row.server for row in columns.rows(judged)] == ["gamma", "alpha", "beta"]
    assert "(9,000 ±0.1 %)" in text
    assert "(8,000)" in text
    assert "failed, 2 of 3 blocks" in text
    assert "alpha, 5 clients, closed 64 B, failed, 2 of 3 blocks good: block 2: it died" in text
    assert "beta, 5 clients, closed 64 B, gated, 0 of 3 blocks good: block 1: little:" in text
    assert "in brackets" in text
    assert "in brackets" not in printed(judge(made.session()))


def test_a_row_of_which_some_blocks_were_gated_says_so():
    """Three figures of five are not five."""
    judged = judge(
        made.session(
            ["alpha"],
            [made.load(5)],
            5,
            lambda t: made.ok(t, gates=(made.gate("others", "a lot"),) if t.block < 2 else ()),
        )
    )
    assert "some blocks were gated; good: alpha at 5 (closed 64 B) 3 of 5 blocks" in printed(
        judged, width=300
    )


def test_p50_of_the_unevenly_served_is_not_printed():
    """It would be the median message's, of those who were served most; the reason is said."""
    judged = judge(made.session(["alpha"], [made.load(100)], 3, lambda t: made.ok(t, fairness=0.5)))
    (shown,) = table.tables(judged)
    cells = dict(zip([title for title, _ in shown.headings], shown.lines[0].cells, strict=True))
    assert (cells["p50 ms"], cells["p99 ms"]) == (numbers.UNKNOWN, "2.00")
    assert any("no p50" in remark for remark in sentences.remarks(judged))
    assert not any("no p50" in remark for remark in sentences.remarks(judge(made.session())))


def test_open_loops_show_their_stalls():
    """The longest and how often, beside p99 and p99.9; what is rare is said, not a percentile."""
    load = made.load(100, kind="open", rate=1000.0, arrivals="poisson")
    stalls = {"longest_stall_s": 0.123, "stalls": 5}

    def measure(trial):
        p99 = None if trial.server == "beta" else 2000.0
        latency = Latency(200_000, 1000.0, 1500.0, p99, p99, 90_000.0)
        return made.ok(trial, latency=latency, **stalls)

    judged = judge(made.session(loads=[load], measure=measure))
    (shown,) = table.tables(judged)
    lines = {line.cells[1]: line.cells for line in shown.lines}
    cells = dict(zip([title for title, _ in shown.headings], lines["alpha"], strict=True))
    assert (cells["p99.9 ms"], cells["longest stall ms"], cells["stalls/s"]) == (
        "2.00",
        "123",
        "2.50",
    )
    assert "no echo, worst" not in cells
    said = [remark for remark in sentences.remarks(judged) if "no p99" in remark]
    assert len(said) == 1
    assert said[0].endswith("beta at 100 (open 64 B 1,000/s poisson)")
    closed = printed(judge(made.session(measure=lambda t: made.ok(t, **stalls))))
    assert "stall" not in closed


def test_one_client_and_the_ceiling_are_remarked():
    """What a row of one client measures, and which slices were cut short."""
    judged = judge(
        made.session(
            ["alpha"],
            [made.load(1), made.load(100)],
            2,
            lambda t: made.ok(t, at_ceiling=t.load.clients == 100),
        )
    )
    told = sentences.remarks(judged)
    assert any(line.startswith("1 client: ") for line in told)
    assert any(
        line.endswith("round trips: alpha at 100 (closed 64 B) 2 of its trials") for line in told
    )
    told = sentences.remarks(judge(made.session()))
    assert not any("1 client:" in line or "round trips" in line for line in told)


@pytest.mark.parametrize(
    ("python", "cpu", "suite", "words"),
    [
        ({"optimisation": ["-DNDEBUG", "-O3"]}, {}, {}, "Python 3.11.0 not optimised"),
        ({"optimisation": ["--enable-optimizations", "-O3"]}, {}, {}, "Python 3.11.0 PGO"),
        ({"optimisation": []}, {}, {}, "Python 3.11.0"),
        ({}, {"virtual_machine": "kvm"}, {}, "Test CPU, a virtual machine, Linux"),
        ({}, {}, {"modified": True}, "Python 3.11.0, a modified tree"),
    ],
)
def test_the_heading_says_what_makes_figures_unlike_others(python, cpu, suite, words):
    """An interpreter that is slower than most, a machine that is not alone, a tree with changes."""
    environment = {
        "cpu": made.ENVIRONMENT["cpu"] | cpu,
        "system": made.ENVIRONMENT["system"],
        "python": made.ENVIRONMENT["python"] | python,
        "suite": suite,
    }
    said = sentences.heading(judge(replace(made.session(), environment=environment)))
    assert words in said
    assert said.endswith(words) or cpu
    assert ("PGO" in said, "virtual" in said, "modified" in said) == (
        "PGO" in words, "virtual" in words, "modified" in words,
    )  # fmt: skip


def test_the_heading_names_the_interpreter_that_the_servers_ran_on():
    """It may be another than the one that runs the suite; several are counted."""
    session = made.session()
    names = [server.name for server in session.plan.servers]

    def on(**pythons):
        runtimes = {name: Runtime("", python, build=("-O3",)) for name, python in pythons.items()}
        measured = [
            replace(m, python=pythons[m.trial.server], gil=False) for m in session.measurements
        ]
        changed = replace(session, runtimes=runtimes, measurements=tuple(measured))
        return sentences.heading(judge(changed))

    assert "Python 3.13.1 not optimised, no GIL" in on(**dict.fromkeys(names, "3.13.1"))
    assert "2 interpreters" in on(**dict.fromkeys(names, "3.13.1") | {names[0]: "3.12.0"})


def test_a_lock_that_came_on_while_it_served_is_told():
    """Its imports said that it was off, and the reading after the slice that it was on."""
    session = made.session()
    measured = tuple(
        replace(m, gil=False, server=replace(m.server, gil=m.trial.server == "alpha"))
        for m in session.measurements
    )
    judged = judge(replace(session, measurements=measured))
    assert {row.server for row in judged.rows if row.gil} == {"alpha"}
    (told,) = [line for line in sentences.remarks(judged) if "switched the lock on" in line]
    assert told.endswith(": alpha")


def test_errors_are_each_counted_once_over_all_blocks():
    """Who was not served is among the errors by its reason, and is not an error besides."""
    errors = {"no first echo within 6 s": 7, "closed by the server": 2}

    def measure(trial):
        return made.ok(trial, status="failed", reason="x", served=93, errors=errors, lost=1)

    judged = judge(made.session(["alpha"], [made.load(100)], 2, measure))
    assert "14 not served, 2 lost, 4 errors" in printed(judged)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Ratio(1.5, 1.2, 1.9, 8), "1.50 (1.20 to 1.90)"),
        (Ratio(1.0, 0.99, 1.02, 8), "1.000 (0.990 to 1.020)"),
        (Ratio(1.5, None, None, 2), "1.50"),
        (Ratio(0.14, None, 0.5, 8), "0.14 (0 to 0.50)"),
        (Ratio(0.0, None, None, 5), "0"),
        (Ratio(0.0, None, 0.3, 8), "0 (0 to 0.30)"),
        (Ratio(2.0, 1.1, None, 8), "2.00 (1.10 to ∞)"),
        (Ratio(math.inf, None, None, 8), "∞"),
    ],
)
def test_a_ratio_with_an_open_end_is_said(ratio, text):
    """A figure of 0 leaves an end open; two blocks leave both untold."""
    assert numbers.ratio(ratio) == text


def test_infinities_are_null_for_programs():
    """A reference that answered nobody: a ratio beyond all numbers, in JSON that is JSON."""

    def measure(trial):
        return made.ok(trial, rate=0.0 if trial.server.startswith("alpha") else 1e5)

    judged = judge(made.session(["alpha", "beta"], [made.load(5)], 8, measure, control=True))
    row = next(row for row in judged.rows if row.server == "beta")
    assert row.ratio.median == math.inf
    flat = records.as_dict(row)
    assert flat["ratio"]["median"] is None
    json.dumps(flat, allow_nan=False)
    assert "∞" in printed(judged)
    assert "∞" in markdown.render(judged)


def test_how_evenly_clients_were_served_is_in_every_table_from_100_on():
    """Fairness columns say something from 100 clients up, and nothing below."""
    judged = judge(made.session(loads=[made.load(10), made.load(100)]))
    titles = [column.title for column in columns.columns(judged, "closed")]
    for title in ("fairness", "no echo, worst", "silence s"):
        column = columns.columns(judged, "closed")[titles.index(title)]
        below, above = (column.cell(row) for row in judged.rows if row.server == "alpha")
        assert (below == numbers.UNKNOWN, above == numbers.UNKNOWN) == (True, False)
    few = judge(made.session(loads=[made.load(10)]))
    assert "fairness" not in [column.title for column in columns.columns(few, "closed")]


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
    assert "Memory per idle client" in printed(judged)
    assert "4.00 (4.00 to 4.00)" in markdown.render(judged).replace("\\", "")
    assert judge(made.session()).memory == ()


def test_hostile_names_are_text():
    """A server's name cannot colour the terminal nor break a Markdown table."""
    nasty = "[red]a|b*<script>"
    judged = judge(made.session([nasty], measure=lambda t: made.failed(t, "x|y\n# z")))
    assert nasty in printed(judged, width=200)
    lines = [line for line in markdown.render(judged).splitlines() if line.startswith("|")]
    bars = len(columns.columns(judged, "closed")) + 1
    assert {line.replace("\\|", "").count("|") for line in lines} == {bars}
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
    fewer = columns.filtered(judged, {"beta"}, {10, 100})
    assert {(row.server, row.clients) for row in fewer.rows} == {("beta", 10), ("beta", 100)}
    with pytest.raises(columns.ViewError, match=r"there is no column 'beauty'; choose from load"):
        table.tables(judged, table.View(sort="beauty"))


def test_sorting_puts_the_greatest_first_and_the_unknown_last():
    """Numbers are compared as numbers, whatever stands around them."""
    rates = {"a": 20.5, "b": 1000.0, "c": None, "d": 3.25, "e": 300.0}

    def measure(trial):
        return made.ok(trial, messages_per_s=rates[trial.server], client_cpu_share=0.95)

    judged = judge(made.session(list(rates), [made.load(5)], 3, measure))
    (shown,) = table.tables(judged, table.View(sort="messages", columns=("messages",)))
    servers = [name for name, _ in shown.headings].index("server")
    assert [line.cells[servers] for line in shown.lines] == ["b", "e", "a", "d", "c"]
    assert shown.lines[0].cells[-1].startswith("≥ 1,000")
