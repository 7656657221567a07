"""How pytest-benchmark gets durations that a program of its own reported.

It reads them through its timer: a clock that advances only by what the program says it took
within its running loop (see one.py and trips.py).
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 7


class InsideClock:
    """A clock that advances only by what is added to it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


INSIDE = InsideClock()


def said(program: str, *words: object) -> dict[str, Any]:
    """What a program of this folder prints."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(program)), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def timed(benchmark: BenchmarkFixture, seconds: Sequence[float], operations: int) -> None:
    """Passes pytest-benchmark one duration per round: that of one operation."""
    left = iter(seconds)

    def a_round() -> None:
        INSIDE.now_s += next(left) / operations

    benchmark.pedantic(a_round, rounds=len(seconds))  # type: ignore[no-untyped-call]
