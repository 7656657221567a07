"""Guards what other tools read: pytest-benchmark, HdrHistogram, CSV, JSON lines."""

import csv
import io
import json
import subprocess
import sys

import made
import numpy as np
import pytest
from command import c10k
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from recorded import ok

from c10k.judge import judge
from c10k.render import export


@pytest.fixture
def session():
    return made.session(measure=ok)


@pytest.fixture
def folder(session, tmp_path):
    """The same, stored."""
    return made.kept(tmp_path / "s", session)


def test_pytest_benchmark_lists_and_compares_it(folder, tmp_path):
    """Its own commands read the file unchanged, as rates and p99s of their own groups."""
    out = tmp_path / "benchmarks"
    c10k("export", folder, "--format", "pytest-benchmark", "--out", out)
    tool = [sys.executable, "-m", "pytest_benchmark", "--storage", f"file://{out}"]
    listed = subprocess.run([*tool, "list"], capture_output=True, text=True, check=True)
    assert "0001_made_20260102_030405.json" in listed.stdout
    compared = subprocess.run(
        [*tool, "compare", "--group-by=group", "--columns=median,ops"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for words in ("closed 64 B, 100 clients: one message", "closed 64 B, 100 clients: p99"):
        assert words in compared.stdout
    assert compared.stdout.count("alpha [") == 4
    assert "Failed to load" not in compared.stdout + compared.stderr


def test_its_figures_are_those_of_the_session(session):
    """ops is messages/s, extra_info the whole row, the data one value a block."""
    (text,) = export.pytest_benchmark(session, judge(session)).values()
    found = {each["name"]: each for each in json.loads(text)["benchmarks"]}
    rate = found["beta [closed 64 B, 100 clients: one message]"]
    assert rate["stats"]["ops"] == pytest.approx(2000.5, rel=1e-3)
    assert rate["stats"]["data"] == [1 / 2000.0, 1 / 2001.0]
    assert rate["extra_info"]["messages_per_s"] == 2000.5
    assert found["beta [closed 64 B, 100 clients: p99]"]["stats"]["median"] == 0.05


def test_the_histogram_log_is_read_back(folder, tmp_path):
    """HdrHistogram's reader finds an interval for each trial, with its values."""
    c10k("export", folder, "--format", "hdr", "--out", tmp_path / "hdr")
    reader = HistogramLogReader(str(tmp_path / "hdr" / "session.hlog"), HdrHistogram(1, 10**13, 3))
    intervals = list(iter(reader.get_next_interval_histogram, None))
    assert len(intervals) == 8
    assert {each.get_total_count() for each in intervals} == {101}
    assert {each.get_max_value() // 1_000_000 for each in intervals} == {49, 50} - {
        49 if intervals[0].get_max_value() >= 50_000_000 else 50
    }


def test_the_percentile_files_are_what_the_plotter_reads(session):
    """Four columns with a heading, values in ms, all accepted trials of a cell together."""
    files = export.hdr(session, judge(session))
    text = files["alpha-closed-64-B-100.hgrm"]
    heading, *lines = [line.split() for line in text.splitlines() if line.strip()]
    assert heading == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    numbers = [line for line in lines if not line[0].startswith("#")]
    assert float(numbers[0][0]) == pytest.approx(1.0, rel=1e-3)
    assert int(numbers[-1][2]) == 202


def test_csv_and_json_lines_have_a_line_a_row(session):
    """Flat, complete, and read back to the same values."""
    judged = judge(session)
    (text,) = export.rows_as_csv(session, judged).values()
    rows = list(csv.DictReader(io.StringIO(text)))
    (lines,) = export.rows_as_jsonl(session, judged).values()
    objects = [json.loads(line) for line in lines.splitlines()]
    assert len(rows) == len(objects) == 4
    assert [float(row["messages_per_s"]) for row in rows] == [
        each["messages_per_s"] for each in objects
    ]
    assert json.loads(rows[0]["errors"]) == {}


def test_markdown_is_what_show_prints(folder):
    """One renderer, two commands."""
    exported = c10k("export", folder, "--format", "markdown").stdout
    assert exported == c10k("show", folder, "--format", "markdown").stdout


def test_several_files_need_a_folder(folder, tmp_path):
    """One line that names the option; a folder that cannot be written is one line, too."""
    done = c10k("export", folder, "--format", "hdr", code=2)
    assert "--out FOLDER" in done.stderr
    (tmp_path / "file").write_text("")
    done = c10k("export", folder, "--format", "csv", "--out", tmp_path / "file", code=2)
    assert len(done.stderr.splitlines()) == 1


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=9))
def test_stats_of_any_values_are_whole(values):
    """What pytest-benchmark sorts and prints is finite and in order."""
    stats = export._benchmark("g", "s", values, {})["stats"]
    low, high = min(values), max(values)
    assert stats["min"] == low <= stats["median"] <= stats["max"] == high
    assert low <= stats["ld15iqr"] <= stats["hd15iqr"] <= high
    assert stats["q1"] == pytest.approx(np.quantile(values, 0.25))
    assert stats["rounds"] == len(values)


def test_gated_and_failed_trials_are_left_out(session):
    """What does not count in the table does not count elsewhere."""
    spoilt = replace(
        session,
        measurements=tuple(replace(m, gates=(made.gate("steal"),)) for m in session.measurements),
    )
    (text,) = export.pytest_benchmark(spoilt, judge(spoilt)).values()
    assert json.loads(text)["benchmarks"] == []
    assert list(export.hdr(spoilt, judge(spoilt))) == ["session.hlog"]
