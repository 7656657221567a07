"""Sessions to be disturbed, and the table of what came of it.

Each test says its fault and the promise, and when it holds, what was seen. With
--keep FILE these lines are kept, for docs/reliability.md.
"""

import json
from pathlib import Path

import pytest
from disturbed import WORKLOAD, Run

from c10k.run import store

ROWS = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--keep", type=Path, help="keep fault, promise and what was seen here")
    parser.addoption("--kills", type=int, default=3, help="how often the session is killed")


def pytest_configure(config):
    config.stash[ROWS] = []


def pytest_sessionfinish(session, exitstatus):
    kept = session.config.getoption("--keep")
    if kept is not None and exitstatus == 0:
        rows = sorted(session.config.stash[ROWS])
        kept.write_text(json.dumps({"faults": rows}, indent=1, ensure_ascii=False) + "\n")


@pytest.fixture
def held(request):
    """held(fault, promise, seen): the promise was kept, and how that looked."""

    def keep(fault, promise, seen):
        request.config.stash[ROWS].append((fault, promise, seen))

    return keep


@pytest.fixture
def begin(tmp_path):
    """begin(servers=…, blocks=…) → a Run in tmp_path / "s", ended with the test."""
    runs = []

    def start(*words, servers=("asyncio_streams",), more="", options=None, resume=False, **fields):
        kept = {"blocks": 3, "clients": 5, "duration": 0.4, "drain": 1, "kind": "closed"} | fields
        path = tmp_path / "disturbed.toml"
        names = "[" + ", ".join(f'"{name}"' for name in servers) + "]"
        folder = kept.pop("out", tmp_path / "s")
        path.write_text(WORKLOAD.format(servers=names, more=more, **kept))
        what = ("--resume", folder) if resume else (path, "--unchecked", "--out", folder)
        runs.append(Run(*what, *words, **(options or {})))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()
        run.process.stdout.close()


@pytest.fixture
def kept(tmp_path):
    """kept() → the measurements that are stored."""
    return lambda: store.load(tmp_path / "s").measurements
