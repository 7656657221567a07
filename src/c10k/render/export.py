"""A session in the formats of other tools: pure functions that map file names to text.

csv, jsonl          one flat line per row, with the range of every figure
markdown            the tables, as `c10k show --format markdown` prints them
pytest-benchmark    a file of its storage: `pytest-benchmark list` and `compare` read it. Its
                    columns are a fixed list of times, so the rate is one benchmark (the time of
                    one message; ops is messages/s) and the p99 another; the rest is extra_info
hdr                 HdrHistogram: a V2 log with a line for each trial, tagged with the server,
                    and one .hgrm file per server and load, over all accepted trials, for
                    HdrHistogram's plotter

Names in a session are untrusted. A file name stays within the folder that is written to. In
CSV, text that a spreadsheet would take for a formula (it begins with =) gets an apostrophe.
"""

import csv
import io
import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import to_builtins

from ..errors import UserError
from ..histograms import latencies
from ..judge.cells import Cell, accepted, by_cell
from ..model import Comparison, Judged, Measurement, Session
from ..text import plain
from . import columns, comparisons, markdown, records

Files = Mapping[str, str]  # file name, which may have folders → content
_FORMULA = ("=", "+", "-", "@")


class ExportError(UserError):
    """A session that lacks what a format needs; the message says what is missing."""


def rows_as_csv(session: Session, judged: Judged) -> Files:
    """A heading line, then one line per row; a list or mapping is JSON in its cell."""
    rows = [records.as_dict(row) for row in columns.rows(judged)]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {
            key: json.dumps(value) if isinstance(value, dict | list) else value
            for key, value in row.items()
        }
        writer.writerow({key: cell(value) for key, value in cells.items()})
    return {"rows.csv": out.getvalue()}


def comparison_as_csv(found: Comparison) -> str:
    """A comparison as CSV: one table with all columns."""
    shown = comparisons.compared(found)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(title) for title, _ in shown.headings])
    writer.writerows(map(cell, line.cells) for line in shown.lines)
    return text.getvalue()


def cell(value: object) -> object:
    """A cell of CSV: one line of text that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d[\d,.]*(e[-+]?\d+)?", text) is not None


def _within(word: str) -> str:
    """A word made safe for a file's name: it cannot lead out of its folder."""
    return re.sub(r"[^\w.@=+-]+", "-", word)[:100].lstrip(".") or "-"


def _moment(text: str, what: str) -> datetime:
    """A time of a session, in UTC. Raises ExportError."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ExportError(f"{what}: {text!r} is not a time") from None


def rows_as_jsonl(session: Session, judged: Judged) -> Files:
    """One JSON object per row."""
    rows = [json.dumps(records.as_dict(row)) + "\n" for row in columns.rows(judged)]
    return {"rows.jsonl": "".join(rows)}


def tables_as_markdown(session: Session, judged: Judged) -> Files:
    """The tables as Markdown."""
    return {"tables.md": markdown.render(judged)}


def pytest_benchmark(session: Session, judged: Judged) -> Files:
    """One file of pytest-benchmark's storage, in the folder that it would choose."""
    benchmarks: list[dict[str, Any]] = []
    rows = {(row.server, row.load.label, row.clients): records.as_dict(row) for row in judged.rows}
    for (load, server), trials in _accepted(session).items():
        where = f"{load.label}, {load.clients:,} clients"
        extra = rows.get((server, load.label, load.clients), {})
        rates = [1 / rate for m in trials if (rate := m.messages_per_s or 0) > 1e-9]
        tails = [p99 / 1e6 for m in trials if m.latency and (p99 := m.latency.p99_us or 0) > 1e-9]
        for name, seconds in (("one message", rates), ("p99", tails)):
            if seconds:
                benchmarks.append(_benchmark(f"{where}: {name}", server, seconds, extra))
    environment = session.environment
    python, cpu = environment.get("python", {}), environment.get("cpu", {})
    system = environment.get("system", {})
    version = str(python.get("version", "3"))
    folder = _within(
        f"{system.get('platform', 'Linux')}-{python.get('implementation', 'CPython')}-"
        f"{'.'.join(version.split('.')[:2])}-64bit"
    )
    suite = environment.get("suite", {})
    document = {
        "machine_info": {
            "node": "",
            "machine": cpu.get("architecture"),
            "python_implementation": python.get("implementation"),
            "python_version": version,
            "release": system.get("kernel"),
            "system": system.get("platform"),
            "cpu": {"brand_raw": cpu.get("model"), "count": cpu.get("cores_logical")},
        },
        "commit_info": {"id": suite.get("commit"), "dirty": bool(suite.get("modified"))},
        "benchmarks": benchmarks,
        "datetime": session.started_at,
        "version": "5.0.0",
    }
    began = _moment(session.started_at, "started_at")
    name = f"{folder}/0001_{_within(judged.workload.name)}_{began:%Y%m%d_%H%M%S}.json"
    return {name: json.dumps(document, indent=1) + "\n"}


def hdr(session: Session, judged: Judged) -> Files:
    """A log of all trials, and one percentile distribution per server and load."""
    files = {}
    began = _moment(session.started_at, "started_at")
    log = [
        f"#[c10k: {plain(judged.workload.title)}; latencies in ns]\n",
        "#[Histogram log format version 1.3]\n",
        f"#[StartTime: {began.timestamp():.3f} (seconds since epoch), {began.isoformat()}]\n",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n',
    ]
    for (load, server), trials in _accepted(session).items():
        held = [m for m in trials if m.latency and m.latency.histogram]
        if not held:
            continue
        merged = latencies.empty()
        for m in held:
            assert m.latency is not None
            decoded = latencies.decoded(m.latency.histogram)
            started = (_moment(m.started_at, f"trial {m.trial.key}") - began).total_seconds()
            tag = f"{_within(server)}/{load.label}/{load.clients}".replace(" ", "_")
            tag = tag.replace(",", "")
            longest_ms = (m.latency.max_us or 0.0) / 1000
            log.append(
                f"Tag={tag},{started:.3f},{m.duration_s or 0.0:.3f},{longest_ms:.3f},"
                f"{m.latency.histogram}\n"
            )
            merged.add(decoded)
        out = io.BytesIO()
        merged.output_percentile_distribution(out, 1_000_000.0)  # ns to ms
        what = f"{load.label}-{load.clients}".replace("/", "-").replace(" ", "-")
        files[f"{_within(server)}-{what.replace(',', '')}.hgrm"] = out.getvalue().decode()
    return {"session.hlog": "".join(log), **files}


Format = Literal["pytest-benchmark", "csv", "markdown", "hdr", "jsonl"]
FORMATS: dict[Format, Callable[[Session, Judged], Files]] = {
    "pytest-benchmark": pytest_benchmark,
    "csv": rows_as_csv,
    "markdown": tables_as_markdown,
    "hdr": hdr,
    "jsonl": rows_as_jsonl,
}


def _accepted(session: Session) -> dict[Cell, list[Measurement]]:
    """The trials that count, by load and server, in the plan's order."""
    return {cell: accepted(trials) for cell, trials in by_cell(session).items()}


def _benchmark(
    group: str, server: str, seconds: Sequence[float], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """One benchmark of a group, with its statistics over the blocks."""
    ordered = sorted(seconds)
    mean, median = statistics.fmean(ordered), statistics.median(ordered)
    deviation = statistics.stdev(ordered) if len(ordered) > 1 else 0.0
    q1, q3 = _quartiles(ordered)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    inside = [value for value in ordered if low <= value <= high]
    far = sum(abs(value - mean) > deviation for value in ordered)
    return {
        "group": group,
        "name": f"{server} [{group}]",
        "fullname": f"c10k::{server} [{group}]",
        "params": {"server": server},
        "param": server,
        "extra_info": to_builtins(dict(extra)),
        "options": {
            "disable_gc": False,
            "timer": "perf_counter",
            "min_rounds": 1,
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": {
            "min": ordered[0],
            "max": ordered[-1],
            "mean": mean,
            "stddev": deviation,
            "rounds": len(ordered),
            "median": median,
            "iqr": q3 - q1,
            "q1": q1,
            "q3": q3,
            "iqr_outliers": len(ordered) - len(inside),
            "stddev_outliers": far,
            "outliers": f"{far};{len(ordered) - len(inside)}",
            "ld15iqr": inside[0],
            "hd15iqr": inside[-1],
            "ops": 1 / mean,
            "total": sum(ordered),
            "iterations": 1,
            "data": list(seconds),
        },
    }


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    if len(ordered) < 2:
        return ordered[0], ordered[0]
    first, _, third = statistics.quantiles(ordered, n=4, method="inclusive")
    return first, third
