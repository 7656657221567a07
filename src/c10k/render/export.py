"""A session in the formats of other tools: pure, each a mapping of file names to text.

csv, jsonl          a line a row, flat, with the range of every figure
markdown            the tables, as `c10k show --format markdown`
pytest-benchmark    a file of its storage: `pytest-benchmark list` and `compare` read it. Its
                    columns are a closed list of times, so the rate is a benchmark (the time of
                    one message; ops is messages/s) and the p99 another; the rest is extra_info
hdr                 HdrHistogram: a V2 log with a line for each trial, tagged with the server,
                    and an .hgrm of each server and load, all its accepted trials together, for
                    HdrHistogram's plotter
"""

import csv
import io
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hdrh.histogram import HdrHistogram
from msgspec import to_builtins

from ..model import Judged, Load, Measurement, Session
from . import markdown, table

Files = Mapping[str, str]  # name, with folders → content


def rows_as_csv(session: Session, judged: Judged) -> Files:
    """One heading line, a line a row; what is a list or a table is JSON in its cell."""
    rows = [table.as_dict(row) for row in table.rows(judged)]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {
            key: json.dumps(value) if isinstance(value, dict | list) else value
            for key, value in row.items()
        }
        writer.writerow(cells)
    return {"rows.csv": out.getvalue()}


def rows_as_jsonl(session: Session, judged: Judged) -> Files:
    """A JSON object a row."""
    rows = [json.dumps(table.as_dict(row)) + "\n" for row in table.rows(judged)]
    return {"rows.jsonl": "".join(rows)}


def tables_as_markdown(session: Session, judged: Judged) -> Files:
    """The tables, escaped."""
    return {"tables.md": markdown.render(judged)}


def pytest_benchmark(session: Session, judged: Judged) -> Files:
    """A file as pytest-benchmark stores them, in the folder of the machine it names."""
    benchmarks: list[dict[str, Any]] = []
    rows = {(row.server, row.load, row.clients): table.as_dict(row) for row in judged.rows}
    for (load, server), trials in _accepted(session).items():
        where = f"{load.label}, {load.clients:,} clients"
        extra = rows.get((server, load.label, load.clients), {})
        rates = [1 / m.messages_per_s for m in trials if m.messages_per_s]
        tails = [m.latency.p99_us / 1e6 for m in trials if m.latency and m.latency.p99_us]
        for name, seconds in (("one message", rates), ("p99", tails)):
            if seconds:
                benchmarks.append(_benchmark(f"{where}: {name}", server, seconds, extra))
    environment = session.environment
    python, cpu = environment.get("python", {}), environment.get("cpu", {})
    system = environment.get("system", {})
    version = str(python.get("version", "3"))
    folder = "-".join(
        (
            str(system.get("platform", "Linux")),
            str(python.get("implementation", "CPython")),
            ".".join(version.split(".")[:2]),
            "64bit",
        )
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
    began = datetime.fromisoformat(session.started_at)
    name = f"{folder}/0001_{judged.workload.name}_{began:%Y%m%d_%H%M%S}.json"
    return {name: json.dumps(document, indent=1) + "\n"}


def hdr(session: Session, judged: Judged) -> Files:
    """The log of all trials and a percentile distribution of each server under each load."""
    files = {}
    began = datetime.fromisoformat(session.started_at).timestamp()
    log = [
        f"#[c10k: {judged.workload.title}; latencies in ns]\n",
        "#[Histogram log format version 1.3]\n",
        f"#[StartTime: {began:.3f} (seconds since epoch), {session.started_at}]\n",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n',
    ]
    for (load, server), trials in _accepted(session).items():
        held = [m for m in trials if m.latency and m.latency.histogram]
        if not held:
            continue
        merged = HdrHistogram(1, 3_600_000_000_000, 3)
        for m in held:
            assert m.latency is not None
            started = datetime.fromisoformat(m.started_at).timestamp() - began
            tag = f"{server}/{load.label}/{load.clients}".replace(" ", "_").replace(",", "")
            longest_ms = (m.latency.max_us or 0.0) / 1000
            log.append(
                f"Tag={tag},{started:.3f},{m.duration_s or 0.0:.3f},{longest_ms:.3f},"
                f"{m.latency.histogram}\n"
            )
            merged.add(HdrHistogram.decode(m.latency.histogram))
        out = io.BytesIO()
        merged.output_percentile_distribution(out, 1_000_000.0)  # ns to ms
        stem = f"{server}-{load.label}-{load.clients}".replace("/", "-").replace(" ", "-")
        files[f"{stem.replace(',', '')}.hgrm"] = out.getvalue().decode()
    return {"session.hlog": "".join(log), **files}


FORMATS: dict[str, Callable[[Session, Judged], Files]] = {
    "pytest-benchmark": pytest_benchmark,
    "csv": rows_as_csv,
    "markdown": tables_as_markdown,
    "hdr": hdr,
    "jsonl": rows_as_jsonl,
}


def _accepted(session: Session) -> dict[tuple[Load, str], list[Measurement]]:
    """The trials that count, by load and server, in the plan's order."""
    plan = session.plan
    cells: dict[tuple[Load, str], list[Measurement]] = {
        (load, server.name): [] for load in plan.workload.loads for server in plan.servers
    }
    for m in session.measurements:
        if m.accepted:
            cells.setdefault((m.trial.load, m.trial.server), []).append(m)
    return cells


def _benchmark(
    group: str, server: str, seconds: Sequence[float], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """One benchmark of a group, its stats over the blocks."""
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
