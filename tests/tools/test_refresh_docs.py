"""Guards the quoted parts that are made of what pytest-benchmark stored."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def refresh():
    """tools/refresh_docs.py as a module."""
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "tools" / "refresh_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_storage(folder, *benchmarks):
    """A storage of pytest-benchmark with these (median in seconds, extra information)."""
    (folder / "machine").mkdir()
    stored = [
        {"group": "g", "stats": {"median": median}, "extra_info": about}
        for median, about in benchmarks
    ]
    (folder / "machine" / "0001_x.json").write_text(json.dumps({"benchmarks": stored}))
    return folder


def test_trips_are_a_row_for_each_title_and_a_column_for_each_count(refresh, tmp_path):
    """In microseconds; a cell that was not measured is a dash, and no zero."""
    storage = a_storage(
        tmp_path,
        (12e-6, {"trip": "plain TCP", "callers": 10}),
        (55e-6, {"trip": "plain TCP", "callers": 1}),
        (140e-6, {"trip": "command", "callers": 1}),
        (1e-6, {"framework": "trio"}),
    )
    assert refresh.trips(storage).splitlines() == [
        "| µs a round trip | 1 at once | 10 at once |",
        "| --- | ---: | ---: |",
        "| plain TCP | 55.0 | 12.0 |",
        "| command | 140 | – |",
    ]


def test_where_no_trip_is_stored_the_command_is_named(refresh, tmp_path):
    """The page then has no figures, and says how to get them."""
    storage = a_storage(tmp_path, (1e-6, {"framework": "trio"}))
    assert refresh.trips(storage) == f"Not measured yet: `{refresh.WITH_PYTANGO}`.\n"


def test_trips_are_no_primitives(refresh, tmp_path):
    """They are not in the table of primitives, whose columns are frameworks."""
    storage = a_storage(
        tmp_path,
        (55e-6, {"trip": "plain TCP", "callers": 1}),
        (1e-6, {"framework": "trio"}),
    )
    assert "plain TCP" not in refresh.medians(storage)
