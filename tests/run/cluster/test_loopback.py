"""Guards several machines by real Dask processes on loopback: what ends, and what is said."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from command import COMMAND, c10k
from scattered import Loopback, children, running, workload
from waiting import until

from c10k.run import store
from c10k.run.cluster import connect
from c10k.run.cluster import hosts as actors


@pytest.fixture
def loopback(tmp_path):
    """A scheduler, a server's host and two client hosts, all on loopback."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    started = Loopback(tmp_path)
    try:
        for name, label in (("srv", "server=1"), ("c1", "client=1"), ("c2", "client=2")):
            started.worker(name, label)
        started.await_hosts(3)
        yield started
    finally:
        started.close()


def test_dask_leaves_the_measured_cores_alone(loopback):
    """What it does many times a second for itself is ended, on hosts that join later, too."""

    def chatter(dask_worker=None, dask_scheduler=None):
        calls = (dask_worker or dask_scheduler).periodic_callbacks
        return [name for name in names if name in calls and calls[name].is_running()]

    def all_there():
        cluster.look()
        return len(cluster.hosts) == 4

    names = actors.CHATTER
    cluster = connect(loopback.address)
    try:
        loopback.worker("late", "client=1")
        until(all_there)
        assert list(cluster.client.run(chatter).values()) == [[]] * 4
        assert cluster.client.run_on_scheduler(chatter) == []
    finally:
        cluster.close()


def test_a_worker_that_is_killed_takes_all_it_started_with_it(loopback, tmp_path):
    """SIGKILL of Dask's worker on the server's and a client's host: their children are gone."""
    path = workload(tmp_path, duration_s=30)
    words = ["run", path, "--unchecked", "--scheduler", loopback.address, "--out", tmp_path / "s"]
    with subprocess.Popen([*COMMAND, *map(str, words)], stderr=subprocess.DEVNULL) as command:
        try:
            started = [
                *until(lambda: children(loopback.processes["srv"])),
                *until(lambda: children(loopback.processes["c1"])),
            ]
            loopback.kill("srv")
            loopback.kill("c1")
            until(lambda: not running(started))
        finally:
            command.kill()


def test_what_nobody_asks_for_any_more_ends_by_itself(loopback, tmp_path):
    """The command is killed with SIGKILL: its lease ends, and with it server and workers."""
    path = workload(tmp_path, duration_s=60)
    code = f"""
import sys
from c10k import cli
from c10k.run.cluster import hosts
hosts.LEASE_S = 2.0
sys.argv = ["c10k", "run", {str(path)!r}, "--unchecked", "--scheduler", {loopback.address!r},
    "--out", {str(tmp_path / "s")!r}]
cli.main()
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as command:
        started = [
            found
            for name in ("srv", "c1", "c2")
            for found in until(lambda name=name: children(loopback.processes[name]))
        ]
        command.kill()
    until(lambda: not running(started))
    assert loopback.processes["srv"].poll() is None  # Dask's own go on


def test_a_scheduler_that_vanishes_ends_the_session_with_everything_kept(loopback, tmp_path):
    """Exit code 3, one line that says so, the trials so far stored, and a way to go on."""
    path = workload(tmp_path, clients="[10, 20, 30, 40, 50, 60]", duration_s=1.5)
    folder = tmp_path / "s"
    words = ["run", path, "--unchecked", "--scheduler", loopback.address, "--out", folder]
    with subprocess.Popen([*COMMAND, *map(str, words)], stdout=-1, stderr=-1, text=True) as command:
        until(lambda: (folder / store.TRIALS).exists() and (folder / store.TRIALS).read_text())
        until(lambda: children(loopback.processes["c1"]))
        loopback.kill("sched")
        said, errors = command.communicate(timeout=60)
    assert command.returncode == 3, errors
    assert "Traceback" not in errors
    assert "the scheduler tcp://127.0.0.1" in said
    assert "what was measured is kept" in said
    assert f"Continue: c10k run --resume {folder}" in said
    kept = store.load(folder).measurements
    assert 0 < len(kept) < 6
    assert all(measured.status == "ok" for measured in kept)


def test_an_interrupt_leaves_nothing_on_any_host(loopback, tmp_path):
    """Ctrl-C in the middle: the hosts are free again when the command has ended."""
    path = workload(tmp_path, duration_s=30)
    words = ["run", path, "--unchecked", "--scheduler", loopback.address, "--out", tmp_path / "s"]
    with subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as command:
        until(lambda: all(children(loopback.processes[name]) for name in ("srv", "c1", "c2")))
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 3
    assert not any(children(loopback.processes[name]) for name in ("srv", "c1", "c2"))


def test_every_kind_of_load_runs_on_several_hosts(loopback, tmp_path):
    """All kinds give what they give on one machine; clients are split by the labels' amounts."""
    for kind, more in (("open", "rate = 500"), ("storm", ""), ("churn", ""), ("idle", "")):
        path = workload(tmp_path, kind=kind, more=more, clients=90)
        folder = tmp_path / kind
        c10k("run", path, "--unchecked", "--scheduler", loopback.address, "--out", folder)
        (measured,) = store.load(folder).measurements
        assert (measured.status, measured.reason) == ("ok", "")
        assert (measured.connected, measured.served, measured.lost) == (90, 90, 0)
        assert [(h.name, h.role, h.clients) for h in measured.hosts] == [
            ("srv", "server", 0),
            ("c1", "client", 30),
            ("c2", "client", 60),
        ]
        assert measured.start_spread_s > 0
        assert measured.server.before is not None
        assert (measured.latency_from_send is not None) == (kind == "open")


def test_the_servers_host_decides_which_cores_its_server_has(loopback, tmp_path):
    """All but the first, which is Dask's; more than there are is one line before anything runs."""
    folder, there = tmp_path / "s", sorted(os.sched_getaffinity(0))
    words = ["run", workload(tmp_path), "--unchecked", "--scheduler", loopback.address]
    done = c10k(*words, "--server-cores", "99999", "--out", folder, code=2)
    (line,) = done.stderr.splitlines()
    usable = len(there[1:] or there)
    assert f"server cores, 99999: srv has {usable} core" in line
    assert not folder.exists()
    c10k(*words, "--server-cores", "all", "--out", folder)
    (measured,) = store.load(folder).measurements
    assert measured.status == "ok"
    assert measured.server.cores <= usable
    assert measured.shared_cores == ()


def test_the_only_host_is_both_and_its_shared_core_is_named(tmp_path):
    """Server and clients share the last core when the server has all of them, as locally."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    started, folder = Loopback(tmp_path), tmp_path / "s"
    try:
        started.worker("both", "server=1 client=1")
        started.await_hosts(1)
        words = ["--unchecked", "--scheduler", started.address, "--server-cores", "all"]
        done = c10k("run", workload(tmp_path), *words, "--out", folder)
    finally:
        started.close()
    (measured,) = store.load(folder).measurements
    assert (measured.status, measured.reason) == ("ok", "")
    last = max(os.sched_getaffinity(0))
    assert measured.shared_cores == (last,)
    assert f"share core {last}" in " ".join(done.stdout.split())


@pytest.mark.unmeasured
def test_a_server_that_does_not_serve_costs_its_own_trial(loopback, tmp_path):
    """What the launcher says on the server's host is the reason here, with the server's log."""
    bad = tmp_path / "dies_server.py"
    bad.write_text(
        '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# [tool.c10k]\n'
        '# title = "t"\n# model = "m"\n# unit = "u"\n# tier = "variant"\n# ///\n'
        "raise SystemExit('no such thing')\n"
    )
    path = workload(tmp_path, servers=str(bad))
    folder = tmp_path / "s"
    c10k("run", path, "--unchecked", "--scheduler", loopback.address, "--out", folder)
    (measured,) = store.load(folder).measurements
    assert measured.status == "failed"
    assert "exited with code 1: no such thing" in measured.reason


def test_without_a_label_nothing_is_started(tmp_path):
    """A missing role is named before anything runs, with the command that starts one."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    started = Loopback(tmp_path)
    try:
        started.worker("srv", "server=1")
        words = ["cluster", started.address]
        done = until(
            lambda: (
                found if "labelled client" in (found := c10k(*words, code=None)).stderr else None
            )
        )
        assert done.returncode == 2
        assert f'dask worker {started.address} --resources "client=1"' in done.stderr
    finally:
        started.close()


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (
            "uvloop-0.0.1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: uvloop\nVersion: 0.0.1\n",
            "the hosts differ: c1 has uvloop 0.0.1, this host uvloop ",
        ),
        (
            "sitecustomize.py",
            "import sys\nsys.modules['c10k'] = None\n",
            "the host c1 cannot run c10k (",
        ),
    ],
)
def test_a_host_that_has_something_else_is_named_before_anything_starts(tmp_path, file, text, says):
    """Another version, or no suite at all: one line, and no trial is run."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    other = tmp_path / "other" / file
    other.parent.mkdir(parents=True)
    other.write_text(text)
    started = Loopback(tmp_path)
    try:
        started.worker("srv", "server=1")
        started.worker("c1", "client=1", path=tmp_path / "other")
        folder = tmp_path / "s"
        words = ["run", workload(tmp_path), "--scheduler", started.address, "--out", folder]
        done = until(
            lambda: None if "labelled" in (found := c10k(*words, code=None)).stderr else found,
            30,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert says in line
        assert not folder.exists()
    finally:
        started.close()


def test_a_server_host_that_vanishes_ends_the_session_when_there_is_no_other(loopback, tmp_path):
    """Its trial is kept with the reason, and the session can be resumed when it is back."""
    folder = tmp_path / "s"
    path = workload(tmp_path, duration_s=3, repeats=1)
    words = ["run", path, "--unchecked", "--scheduler", loopback.address, "--out", folder]
    with subprocess.Popen([*COMMAND, *map(str, words)], stdout=-1, stderr=-1, text=True) as command:
        until(lambda: children(loopback.processes["c1"]))
        loopback.kill("srv")
        said, errors = command.communicate(timeout=60)
    assert command.returncode == 3, errors
    assert "Traceback" not in errors
    assert "no worker labelled server is left" in said
    (measured,) = store.load(folder).measurements
    assert (measured.vanished, measured.status) == ("srv", "failed")
    loopback.worker("srv", "server=1")
    loopback.await_hosts(3)
    c10k("run", "--resume", folder, "--scheduler", loopback.address)
    assert [m.status for m in store.load(folder).measurements] == ["failed", "ok"]


def test_a_scheduler_that_is_not_there_is_said_in_one_line(tmp_path):
    """Exit code 2, one line with the address, no traceback and no log of Dask's."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    for address in ("tcp://127.0.0.1:1", "nonsense", "tcp://h:99999", "tls://127.0.0.1:1"):
        done = c10k("run", "--scheduler", address, code=2)
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"c10k: --scheduler {address}: no scheduler answers")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64, b"\xff" * 64])
def test_what_answers_and_is_no_scheduler_is_said_in_one_line(answer):
    """A web server's port, say: Dask takes its words for lengths and numbers."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")

    def serve():
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                client, _ = listener.accept()
                client.sendall(answer)
                client.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        done = c10k("cluster", f"tcp://127.0.0.1:{listener.getsockname()[1]}", code=2)
        assert "no scheduler answers" in done.stderr
        listener.shutdown(socket.SHUT_RDWR)


def test_the_servers_host_counts_the_clients_of_each_process(loopback, tmp_path):
    """How clients fall on several processes is known on several machines, too."""
    folder = tmp_path / "s"
    words = ["run", workload(tmp_path, clients=90), "--unchecked", "--processes", "2"]
    c10k(*words, "--scheduler", loopback.address, "--out", folder)
    (measured,) = store.load(folder).measurements
    assert len(measured.server.workers) == 2
    assert sum(each.clients for each in measured.server.workers) == 90
