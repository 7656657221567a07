"""Guards that several machines are an extra: what is there of them without Dask, or a host."""

import subprocess
import sys

import pytest
from command import COMMAND
from scattered import workload

from c10k import paths
from c10k.run import events
from c10k.run.cluster import hosts as actors


def test_a_host_that_runs_out_of_something_is_not_gone(monkeypatch):
    """It answers: its trial fails with the reason, and the host is kept."""

    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(actors, "_prepare", lambda: None)  # asks Dask
    monkeypatch.setattr(actors, "available_bytes", none_left)
    with pytest.raises(events.ClientFailed, match="too many open files") as failed:
        actors.ClientHost(30.0).do("start", [], (), 0.5)
    assert not failed.value.vanished


def test_a_local_run_imports_nothing_of_dask(tmp_path):
    """Dask is an extra: who does not ask for it neither has nor loads it."""
    path, folder = str(workload(tmp_path)), str(tmp_path / "s")
    code = f"""
import sys
from c10k import cli
sys.argv = ["c10k", "run", {path!r}, "--unchecked", "--out", {folder!r}]
try:
    cli.main()
except SystemExit as ended:
    assert not ended.code
loaded = [name for name in sys.modules if name.partition(".")[0] in ("dask", "distributed")]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_dask_the_option_says_what_to_install(tmp_path):
    """One line with the command that brings it."""
    code = """
import sys
sys.modules["distributed"] = None
from c10k import cli
sys.argv = ["c10k", "run", "--scheduler", "tcp://127.0.0.1:1"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    remedy = paths.pip_install("'c10k-bench[cluster]'")
    assert done.stderr.splitlines() == [f"c10k: --scheduler: Dask is not installed: {remedy}"]


def test_the_commands_that_start_hosts_are_shown():
    """c10k cluster alone shows what to type, whole and unwrapped."""
    shown = subprocess.run([*COMMAND, "cluster"], capture_output=True, text=True, check=True).stdout
    for line in (
        "dask scheduler --host 10.0.0.1 --dashboard-address 127.0.0.1:8787",
        "dask worker 10.0.0.1:8786 --host 10.0.0.1 --name srv --resources server=1",
        "dask worker 10.0.0.1:8786 --host 10.0.0.2 --name c1 --resources client=1",
        "cluster = SSHCluster(hosts, worker_options=labels)",
        "c10k run quick --scheduler tcp://10.0.0.1:8786",
    ):
        assert line in [each.strip().removeprefix("Then: ") for each in shown.splitlines()]
