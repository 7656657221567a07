"""The coverage table at the end of a run, and what a stored file contains about the machine."""

from collections import defaultdict
from typing import Any

import pytest
from tabulate import tabulate


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Leaves the machine's name out of the stored file, as it is private."""
    machine_info.pop("node", None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One row per primitive, one mark per framework: measured, or no such thing."""
    seen: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for outcome, mark in (("passed", "yes"), ("skipped", "no such thing"), ("failed", "FAILED")):
        for report in terminalreporter.stats.get(outcome, ()):
            if "test_primitive[" not in report.nodeid:
                continue
            primitive, _, framework = report.nodeid.partition("[")[2][:-1].rpartition("-")
            away = outcome == "skipped" and "cannot be imported" in report.longrepr[2]
            seen[primitive][framework] = "not here" if away else mark
    if not seen:
        return
    frameworks = list(dict.fromkeys(name for marks in seen.values() for name in marks))
    rows = [(name, *(marks.get(each, "") for each in frameworks)) for name, marks in seen.items()]
    table = tabulate(rows, headers=("primitive", *frameworks), tablefmt="github")
    terminalreporter.write_line(f"\n{table}")
