"""Counts what was generated, over all processes, and says so at the end."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
from nonsense import COUNTED, LONG


@pytest.fixture(autouse=True, scope="module")
def somewhere(tmp_path_factory):
    """What is generated is written in a folder of its own, which is the current one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fuzz"))
        yield


def pytest_collection_modifyitems(items):
    """As many inputs as are asked for take as long as they take."""
    for item in items:
        if LONG and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    before = Counter(COUNTED)
    try:
        return (yield)
    finally:
        item.user_properties += [("inputs", pair) for pair in (COUNTED - before).items()]


def pytest_terminal_summary(terminalreporter):
    """A line a parser, then the sum."""
    counted = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        if getattr(report, "when", "") == "call":
            for _, (parser, count) in report.user_properties:
                counted[parser] += count
    if not LONG or not counted:
        return
    for parser, count in counted.items():
        terminalreporter.write_line(f"{count:>9,}  {parser}")
    crashes = len(terminalreporter.stats.get("failed", ()))
    terminalreporter.write_line(
        f"{counted.total():,} generated inputs over all parsers, {crashes} crashes"
    )
