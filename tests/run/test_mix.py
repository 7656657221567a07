"""Guards a mix from its declaration to its table: drawn alike, measured by request, shown."""

import io
import json

import made
import numpy as np
import pytest
from msgspec import to_builtins
from msgspec.json import decode, encode
from msgspec.structs import replace
from recorded import histogram
from rich.console import Console

from c10k import machine, plan
from c10k.declare import catalog
from c10k.histograms import intervals, latencies
from c10k.judge import judge
from c10k.launch import runtime
from c10k.model import KINDS, Latency, Load, Measurement, Request
from c10k.render import columns, export, html, markdown, records, table, terminal
from c10k.run import merge, worker_plans
from c10k.run.executor import Rules
from c10k.run.local import LocalExecutor

pytestmark = pytest.mark.once

MIX = (Request("wait", 20.0, 9), Request("hold", 1.0, 1))
OPEN = {"kind": "open", "rate": 500.0, "arrivals": "poisson", "mix": MIX}
LOAD = made.load(20, **OPEN)
SERVER = '''# /// script
# [tool.c10k]
# title = "planted"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Works for a known time by the request's first word, and answers as ANSWER says."""

import socket
import threading
import time


def serve(client):
    while data := client.recv(65536):
        if data.startswith(b"!wait "):
            time.sleep(0.02)
        client.sendall(ANSWER)


listener = socket.socket(fileno=0)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
'''


@pytest.fixture
def measured(tmp_path):
    """measured(answer) → a trial of a mix against a planted server, over two workers."""

    def run(answer):
        path = tmp_path / "planted.py"
        path.write_text(SERVER.replace("ANSWER", answer))
        server = catalog.read(path)
        load = replace(LOAD, warmup_s=0.1, duration_s=1.0)
        planned = plan.make(made.workload(["planted"], [load], 1), [server], 1)
        execute = LocalExecutor(
            planned,
            tmp_path,
            Rules({"planted": runtime.prepare(server)}),
            machine.Pinning(None, None, 2, "not pinned"),
        )
        return execute(planned.trials[0])

    return run


def test_each_request_has_figures_of_its_own(measured):
    """A wait of 20 ms is not faster than that; both together are all that was measured."""
    trial = measured("data")
    assert (trial.status, trial.reason) == ("ok", "")
    waits, holds = trial.latency_by_request
    assert waits.count + holds.count == trial.latency.count
    assert waits.count > 5 * holds.count > 0
    assert latencies.decoded(waits.histogram).get_min_value() >= 19.9e6
    assert latencies.decoded(holds.histogram).get_min_value() < 20e6
    assert decode(encode(trial), type=Measurement) == trial


def test_a_request_that_is_answered_otherwise_fails_the_trial(measured):
    """As with any message: no byte may differ."""
    trial = measured('data.replace(b"wait", b"wAit")')
    assert trial.status == "failed"
    assert "echoes altered" in trial.reason
    assert trial.altered > 0


def test_a_session_without_mixes_is_read_as_before():
    """What was stored before there were any has neither key."""
    plain = to_builtins(made.ok(made.session().plan.trials[0]))
    del plain["latency_by_request"], plain["trial"]["load"]["mix"]
    read = decode(encode(plain), type=Measurement)
    assert (read.latency_by_request, read.trial.load.mix) == ((), ())


def test_the_plan_asks_for_what_was_declared():
    """A line for each request with its share, whatever the server; none without a mix."""
    mix = (*MIX, Request("hold", 0.1), Request("keep", 1500.5, 2, 64))

    def mixes(load):
        whole = made.workload(["alpha"], [load], 1)
        made_plans = worker_plans.plans(("127.0.0.1", 1), whole, load, (5, 5), 3)
        return [[(each.line, each.share) for each in one.mix] for one in made_plans]

    lines = [("!wait 20", 9), ("!hold 1", 1), ("!hold 0.1", 1), ("!keep 1500.5 64", 2)]
    assert mixes(replace(LOAD, mix=mix)) == [lines, lines]
    assert mixes(made.load(10)) == [[], []]


def test_a_label_says_the_mix():
    """Loads that differ in nothing but the mix are told apart."""
    assert LOAD.label == "open 90 % wait 20 ms + 10 % hold 1 ms 500/s poisson"
    alone = replace(LOAD, mix=(Request("keep", 20.0, 1, 1024),))
    assert alone.label == "open keep 1,024 KiB 20 ms 500/s poisson"
    assert replace(LOAD, mix=()).label == "open 64 B 500/s poisson"
    assert len({LOAD, alone, decode(encode(LOAD), type=Load)}) == 2


def test_workers_are_added_up_by_request():
    """Each worker's histograms by place; a percentile needs 100 of that request beyond it."""
    encoded = [histogram([20_000_000 + n] * 600) for n in range(2)]
    counts = np.zeros((50, intervals.BUCKETS), np.int64)
    counts[:, intervals.bucket_of(50e6)] = 1
    whole = intervals.encoded(100_000_000, counts)
    both = merge._latency(encoded, whole)
    assert (both.count, both.p99_us) == (1200, None)
    assert both.p90_us == pytest.approx(20_000, rel=0.01)


def by_request(*milliseconds):
    """Latencies of as many requests: p50, p90 and p99 all as long as that."""
    return tuple(
        Latency(1000 * (2 - n), ms * 1e3, ms * 1e3, ms * 1e3 if not n else None, None, ms * 1e3)
        for n, ms in enumerate(milliseconds)
    )


def judged(**fields):
    """Two servers under a mix and an echo; beta's waits take twice as long."""

    def measure(trial):
        times = 1 + (trial.server == "beta")
        mixed = by_request(20.0 * times, 1.5) if trial.load.mix else ()
        return made.ok(trial, latency_by_request=mixed, **fields)

    echo = made.load(100, kind="open", rate=500.0, arrivals="poisson")
    return judge(made.session(loads=[LOAD, echo], measure=measure))


def test_a_row_has_the_figures_of_each_request():
    """Counts over all blocks, medians of the blocks; a percentile that a trial lacks is none."""
    row = next(row for row in judged().rows if row.load.mix and row.server == "beta")
    waits, holds = row.by_request
    assert (waits.request, waits.messages, waits.latency_p99_us.median) == ("wait 20 ms", 4000, 4e4)
    assert (holds.request, holds.messages, holds.latency_p50_us.median) == ("hold 1 ms", 2000, 1500)
    assert holds.latency_p99_us is None
    assert all(not row.by_request for row in judged().rows if not row.load.mix)


def test_the_requests_have_a_table_below_the_loads():
    """A line for each request of each server; an echo has none there."""
    _, shown = table.tables(judged())
    assert shown.title.startswith("By kind of request")
    cells = [line.cells[2:] for line in shown.lines]
    assert cells == [
        ("alpha", "wait 20 ms", "4,000", "20.0", "20.0", "20.0"),
        ("alpha", "hold 1 ms", "2,000", "1.50", "1.50", "–"),
        ("beta", "wait 20 ms", "4,000", "40.0", "40.0", "40.0"),
        ("beta", "hold 1 ms", "2,000", "1.50", "1.50", "–"),
    ]
    out = io.StringIO()
    Console(file=out, width=terminal.width(judged())).print(terminal.render(judged()))
    for text in (markdown.render(judged()), out.getvalue()):
        assert text.count("hold 1 ms ") >= 2
    (plain,) = table.tables(judge(made.session(loads=[made.load(1)])))
    assert "By kind of request" not in plain.title


def test_the_page_has_the_table_and_no_limit_that_is_none():
    """A page of echoes says that they say nothing about handlers that compute."""
    for mix, clients in ((MIX, 20), ((), 100)):
        load = made.load(clients, **OPEN | {"mix": mix})
        session = made.session(loads=[load], measure=lambda trial: made.ok(
            trial, latency_by_request=by_request(20.0, 1.5) if trial.load.mix else ()))  # fmt: skip
        page = html.render([html.PageSession("s", session, judge(session))])
        assert ("By kind of request" in page) == bool(mix)
        assert ("about handlers that compute" in page) == (not mix)


def test_a_bound_is_marked_there_too():
    """Where the client sent late, its requests' latencies are at most what is shown."""
    late = Latency(1000, 1e6, 1e6, 1e6, None, 1e6)
    _, shown = table.tables(judged(schedule_lag=late))
    assert shown.lines[0].cells[-1] == "≤ 20.0"


def test_programs_get_the_requests():
    """As JSON and in CSV, the same figures as in the table."""
    session = made.session(loads=[LOAD], measure=lambda trial: made.ok(
        trial, latency_by_request=by_request(20.0, 1.5)))  # fmt: skip
    found = judge(session)
    first = records.as_dict(columns.rows(found)[0])
    assert first["by_request"][0] == {
        "request": "wait 20 ms",
        "messages": 4000,
        **{
            f"latency_{percent}_us": {"median": 20_000.0, "least": 20_000.0, "greatest": 20_000.0}
            for percent in ("p50", "p90", "p99")
        },
    }
    assert json.loads(json.dumps(first)) == first
    assert "hold 1 ms" in export.rows_as_csv(session, found)["rows.csv"]


def test_the_mix_stays_when_an_open_load_is_derived_from_a_load():
    """A plain field: what derives loads of kind open from others needs no rule for it."""
    derived = replace(LOAD, rate=750.0, clients=7)
    assert derived.mix == MIX
    assert KINDS[derived.kind].scheduled
