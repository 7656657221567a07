"""Guards several machines: real Dask processes, on hosts that are network namespaces.

Where namespaces are not permitted those tests are skipped, and say so; what needs no host
of its own runs over loopback, and what is arithmetic runs anywhere.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import hosts
import made
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from c10k import judge, launch, machine, paths
from c10k.model import Host, Latency, Noise
from c10k.plan import gates
from c10k.run import cluster, events, store
from c10k.run.cluster import connect, share
from c10k.run.cluster import hosts as actors

CLI = [sys.executable, "-m", "c10k"]
SHORT = """
title = "short"
servers = ["{servers}"]
blocks = 1
reference = "{servers}"
control = false
repeats = {repeats}
connect_timeout_s = 60

[[load]]
kind = "{kind}"
clients = {clients}
warmup_s = 0.2
duration_s = {duration_s}
{more}
"""


def workload(folder, **options):
    """A workload file with one load; its path."""
    given = {"servers": "asyncio_streams", "repeats": 0, "kind": "closed", "clients": 20}
    path = folder / "short.toml"
    path.write_text(SHORT.format(**{**given, "duration_s": 1.0, "more": "", **options}))
    return path


# -- arithmetic ----------------------------------------------------------------------------


ROOMS = st.lists(
    st.tuples(st.floats(0.5, 100), st.none() | st.integers(0, 60_000)), min_size=1, max_size=8
)


@given(ROOMS, st.integers(1, 200_000))
def test_clients_are_split_whole_and_within_every_room(rooms, wanted):
    """Nobody is left out, no host gets more than it has room for, or they are refused."""
    rooms = [share.Room(f"c{n}", weight, room) for n, (weight, room) in enumerate(rooms)]
    if share.refusal(wanted, rooms):
        with pytest.raises(ValueError, match="have no host"):
            share.split(wanted, rooms)
        return
    shares = share.split(wanted, rooms)
    assert sum(shares) == wanted
    assert all(
        part >= 0 and (room.clients is None or part <= room.clients)
        for part, room in zip(shares, rooms, strict=True)
    )


def test_a_label_of_twice_the_amount_gets_twice_the_clients():
    """The amount of the label says what a host is worth, up to the room that it has."""
    rooms = [share.Room("c1", 1, None), share.Room("c2", 2, None), share.Room("c3", 1, 10)]
    assert share.split(400, rooms) == [130, 260, 10]


def test_what_does_not_fit_is_refused_with_the_arithmetic():
    """Each host's room is there with what it comes from, and their sum."""
    limits = machine.Limits(descriptors_hard=1000, port_low=32768, port_high=60999)
    rooms = [share.of(name, 1, limits, n, 2**40, 10**6) for n, name in ((1, "c1"), (4, "c2"))]
    said = share.refusal(10**6, rooms)
    for part in (
        "1,000,000 clients do not fit, 141,160 would",
        "c1 has room for 28,232 (28,232 local ports (net.ipv4.ip_local_port_range) "
        "× 1 source address)",
        "c2 has room for 112,928",
        "× 4 source addresses",
        "add client hosts",
    ):
        assert part in said
    assert share.refusal(141_160, rooms) == ""


def test_memory_bounds_a_host_too():
    """A host with little memory has less room, and that is what is said."""
    room = share.of("c1", 1, machine.Limits(), 1, 160 * 2**20, 10**6)
    assert room.clients == 160 * 2**20 // share.CLIENT_BYTES
    assert "160 MiB may be taken, at 12 KiB a client" in room.why


def test_hosts_that_differ_are_named_with_both_versions():
    """Who has what, and what is here; frameworks matter only where servers run."""
    mine = cluster.Facts(
        (), machine.Limits(), 0, (), {"Python": "3.11.9", "uvloop": "1"}, {"trio": "1"}, {}
    )
    theirs = replace(mine, everywhere={"Python": "3.12.1", "uvloop": ""}, serving={"trio": "2"})
    assert cluster.differences(mine, {"c1": (theirs, ["client"])}) == [
        "c1 has Python 3.12.1, this host Python 3.11.9",
        "c1 has no uvloop, this host uvloop 1",
    ]
    said = cluster.differences(mine, {"srv": (theirs, ["server"])})
    assert said[-1] == "srv has trio 2, this host trio 1"
    assert cluster.differences(mine, {"c1": (mine, ["server", "client"])}) == []


def test_a_host_describes_itself_alike_every_time():
    """What hosts are compared by is the same on one machine; nothing of it is missing."""
    first, again = cluster.read(), cluster.read()
    assert (first.everywhere, first.serving) == (again.everywhere, again.serving)
    assert all(first.everywhere[f"files of {name}"] for name in ("engine", "clients", "servers"))


# -- judging -------------------------------------------------------------------------------


def spread_out(trial, **fields):
    """A trial of three hosts, the second client host busier than the first."""
    return made.ok(
        trial,
        client_cpu_share=0.95,
        start_spread_s=0.002,
        hosts=(
            Host("srv", "server"),
            Host("c1", "client", cpu_share=0.4),
            Host("c2", "client", cpu_share=0.95),
        ),
        **fields,
    )


def test_the_bound_client_host_is_named_in_the_row():
    """Which of several client hosts was the limit stands in the limiter, and who took part."""
    row = judge.judge(made.session(measure=spread_out)).rows[0]
    assert row.limiter == "client CPU on c2"
    assert row.bound
    assert row.hosts == "srv ← c1, c2"
    assert row.start_spread_s.median == 0.002


def test_gates_look_at_every_host_and_name_it():
    """Others' work on any host rejects the trial; so does a host that was gone."""
    trial = made.session().plan.trials[0]
    noisy = (Host("srv", "server"), Host("c1", "client", noise=Noise(0.0, 0.3)))
    assert gates.gates(made.ok(trial, hosts=noisy)) == (
        "others: other processes used 30.0% of a core on c1",
    )
    assert gates.gates(made.ok(trial, vanished="c2")) == (
        "host: c2 was gone before the trial's end",
    )


def test_a_late_schedule_on_one_host_bounds_the_open_loop():
    """One host that sends late is named even when the others hide it in the whole."""
    load = made.load(100, kind="open", rate=100.0, arrivals="poisson")
    trial = replace(made.session().plan.trials[0], load=load)

    def latency(p99_us):
        return Latency(1000, 1.0, 1.0, p99_us, None, p99_us)

    late = (Host("c1", "client", lag_p99_us=1.0), Host("c2", "client", lag_p99_us=50.0))
    measured = made.ok(trial, latency=latency(100.0), schedule_lag=latency(1.0), hosts=late)
    assert gates.bound_by(measured) == "client lag on c2"


# -- without Dask --------------------------------------------------------------------------


def test_a_host_that_runs_out_of_something_is_not_gone(monkeypatch):
    """It answers: its trial fails with the reason, and the host is kept."""

    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(hosts, "_prepare", lambda: None)  # asks Dask
    monkeypatch.setattr(hosts, "available_bytes", none_left)
    with pytest.raises(events.ClientFailed, match="Too many open files") as failed:
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
    shown = subprocess.run([*CLI, "cluster"], capture_output=True, text=True, check=True).stdout
    for line in (
        "dask scheduler --host 10.0.0.1 --dashboard-address 127.0.0.1:8787",
        "dask worker 10.0.0.1:8786 --host 10.0.0.1 --name srv --resources server=1",
        "dask worker 10.0.0.1:8786 --host 10.0.0.2 --name c1 --resources client=1",
        "cluster = SSHCluster(hosts, worker_options=labels)",
        "c10k run quick --scheduler tcp://10.0.0.1:8786",
    ):
        assert line in [each.strip().removeprefix("Then: ") for each in shown.splitlines()]


# -- over loopback -------------------------------------------------------------------------


class Loopback:
    """A scheduler and labelled workers on this machine's loopback."""

    def __init__(self, folder, scheme="tcp", options=()):
        self.folder, self.options = folder, list(options)
        self.scheme = scheme
        self.processes = {}
        file = folder / "scheduler.json"
        self.start("sched", "scheduler", "--port", "0", "--scheduler-file", str(file))
        deadline = time.monotonic() + 30
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < deadline, (folder / "sched.log").read_text()
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]

    def start(self, name, *words, path=""):
        common = ["--host", f"{self.scheme}://127.0.0.1", "--no-dashboard", *self.options]
        found = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH", "")]))
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *words, *common],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": found},
            )

    def worker(self, name, label, **options):
        more = ["--name", name, "--no-nanny", "--nthreads", "1", "--resources", label]
        self.start(name, "worker", self.address, *more, **options)

    def await_hosts(self, count, **options):
        """Until so many are there and the command knows them; what it says of them."""
        deadline = time.monotonic() + 30
        while True:
            done = c10k("cluster", self.address, "--json", **options)
            found = json.loads(done.stdout)["hosts"] if not done.returncode else []
            if len(found) == count:
                return found
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.2)

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def close(self):
        for name in list(self.processes):
            self.kill(name)


def c10k(*words, command=CLI, timeout_s=180, **options):
    """The command as a user runs it; nothing of it is ever a traceback."""
    done = subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, timeout=timeout_s, **options
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


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


def children(process):
    """The servers and load workers below a Dask worker (which also asks git what it is)."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [each for each in running(below) if ours(each)]
    except psutil.NoSuchProcess:
        return []


def ours(process):
    """Whether it is a contender or the client."""
    line = " ".join(process.cmdline())
    return str(paths.SERVERS) in line or str(paths.CLIENT) in line


def running(processes):
    """Those that are not gone."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def until(condition, seconds=20.0):
    """What the condition says as soon as it says anything."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return found


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
    with subprocess.Popen([*CLI, *map(str, words)], stderr=subprocess.DEVNULL) as command:
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
    with subprocess.Popen([*CLI, *map(str, words)], stdout=-1, stderr=-1, text=True) as command:
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
        [*CLI, *map(str, words)],
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
        done = c10k("run", path, "--unchecked", "--scheduler", loopback.address, "--out", folder)
        assert done.returncode == 0, done.stderr
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
        done = until(
            lambda: (
                found
                if "labelled client" in (found := c10k("cluster", started.address)).stderr
                else None
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
            "the host c1 has no c10k (",
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
            lambda: None if "labelled" in (found := c10k(*words)).stderr else found, seconds=30
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
    with subprocess.Popen([*CLI, *map(str, words)], stdout=-1, stderr=-1, text=True) as command:
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
    done = c10k("run", "--resume", folder, "--scheduler", loopback.address)
    assert done.returncode == 0, done.stderr
    assert [m.status for m in store.load(folder).measurements] == ["failed", "ok"]


def test_a_scheduler_that_is_not_there_is_said_in_one_line(tmp_path):
    """Exit code 2, one line with the address, no traceback and no log of Dask's."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    for address in ("tcp://127.0.0.1:1", "nonsense", "tcp://h:99999", "tls://127.0.0.1:1"):
        done = c10k("run", "--scheduler", address)
        assert done.returncode == 2
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
        done = c10k("cluster", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        assert done.returncode == 2
        assert "no scheduler answers" in done.stderr
        listener.shutdown(socket.SHUT_RDWR)


def test_tls_shuts_the_cluster_to_whoever_has_no_certificate(tmp_path):
    """With Dask's own TLS settings a session runs; without a certificate nobody is let in."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    pytest.importorskip("cryptography", reason="makes the certificates")
    certificate, key = certificates(tmp_path)
    settings = {
        **os.environ,
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": certificate,
        **{
            f"DASK_DISTRIBUTED__COMM__TLS__{who}__{what}": file
            for who in ("SCHEDULER", "WORKER", "CLIENT")
            for what, file in (("CERT", certificate), ("KEY", key))
        },
    }
    files = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    started = Loopback(tmp_path, "tls", files)
    try:
        assert started.address.startswith("tls://")
        started.worker("srv", "server=1")
        started.worker("c1", "client=1")
        started.await_hosts(2, env=settings)
        words = ["run", workload(tmp_path), "--unchecked", "--scheduler", started.address]
        done = c10k(*words, "--out", tmp_path / "s", env=settings)
        assert done.returncode == 0, done.stderr
        plain = c10k("cluster", started.address.replace("tls", "tcp"))
        assert plain.returncode == 2
        assert "no scheduler answers" in plain.stderr
    finally:
        started.close()


def certificates(folder):
    """A certificate that signs itself, and its key: the files' names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "c10k")])
    now = datetime.now(UTC)
    made_of = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made_of.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


# -- on hosts of their own -----------------------------------------------------------------


@pytest.fixture
def network(tmp_path):
    """network(delay_ms=…) → a scheduler, a server's host and two client hosts on a bridge."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    if reason := hosts.why_not():
        pytest.skip(reason)
    made_hosts = hosts.Hosts(tmp_path)

    def build(delay_ms=0, more=((), ())):
        cores = sorted(os.sched_getaffinity(0))
        address = made_hosts.scheduler()
        made_hosts.worker("srv", "server=1", address, core=cores[0], delay_ms=delay_ms)
        for name, addresses in zip(("c1", "c2"), more, strict=True):
            made_hosts.worker(name, "client=1", address, *addresses, core=cores[-1])
        until(lambda: len(listed()) == 3, 40)
        return made_hosts

    def listed():
        done = c10k("cluster", address, "--json", command=command)
        return json.loads(done.stdout)["hosts"] if not done.returncode else []

    address = f"tcp://10.77.0.1:{hosts.PORT}"
    command = made_hosts.command("sched", CLI)
    made_hosts.run = lambda *words, **options: c10k(
        "run", *words, "--scheduler", address, command=command, **options
    )
    made_hosts.listed = listed
    try:
        yield build
    finally:
        made_hosts.close()


def test_quick_runs_across_three_hosts(network, tmp_path):
    """The quick workload over a wire: every client served, nothing lost, hosts named."""
    there = network()
    assert [host["address"] for host in there.listed()] == ["10.77.0.3", "10.77.0.4", "10.77.0.2"]
    folder = tmp_path / "s"
    words = ["quick", "--servers", "asyncio_streams", "epoll_c", "--blocks", "1", "--clients"]
    done = there.run(*words, "100", "2k", "--unchecked", "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    stored = store.load(folder)
    assert len(stored.measurements) == 4
    for measured in stored.measurements:
        assert (measured.status, measured.lost, measured.altered) == ("ok", 0, 0)
        assert measured.served == measured.trial.load.clients
        assert {host.name for host in measured.hosts} == {"srv", "c1", "c2"}
        assert not [reason for reason in measured.gates if "host" in reason]
    assert {row["hosts"] for row in json.loads(done.stdout)["rows"]} == {"srv ← c1, c2"}
    assert {"c1: cpu", "c2: cpu"} <= stored.environment.keys()


def test_a_delay_on_the_wire_is_in_the_latency(network, tmp_path):
    """20 ms more on the way back (tc netem, or a relay where the kernel has none)."""
    there = network(delay_ms=20)
    folder = tmp_path / "s"
    done = there.run(workload(tmp_path, clients=10), "--unchecked", "--out", folder)
    assert done.returncode == 0, done.stderr
    (measured,) = store.load(folder).measurements
    assert measured.status == "ok"
    assert measured.latency.p50_us >= 20_000


@pytest.mark.parametrize("way", ["kill", "cut"])
def test_a_client_host_that_vanishes_costs_its_trial(network, tmp_path, way):
    """Killed or cut off in mid-trial: the attempt is kept with its reason, repeated elsewhere."""
    there = network()
    folder = tmp_path / "s"
    path = workload(tmp_path, duration_s=6, repeats=1)
    words = ["run", path, "--unchecked", "--scheduler", f"tcp://10.77.0.1:{hosts.PORT}"]
    command = there.command("sched", [*CLI, *map(str, words), "--out", str(folder)])
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as running_command:
        until(lambda: children(there.processes["c2"][0]), 40)
        time.sleep(1)
        getattr(there, way)("c2")
        _, errors = running_command.communicate(timeout=90)
    assert running_command.returncode == 0, errors
    assert "Traceback" not in errors
    first, second = store.load(folder).measurements
    assert (first.status, first.vanished, first.attempt) == ("failed", "c2", 0)
    assert "the host c2 is gone" in first.reason
    assert any(gate.startswith("host: c2") for gate in first.gates)
    assert (second.status, second.attempt, second.served) == ("ok", 1, 20)
    assert {host.name for host in second.hosts} == {"srv", "c1"}


def test_what_the_hosts_have_no_ports_for_is_refused_with_the_arithmetic(network, tmp_path):
    """Ports of each host are counted there, times the source addresses that it has."""
    there = network(more=(("10.77.0.41",), ()))
    for name in ("c1", "c2"):
        there.system(name, "sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40099")
    for name, label in (("c1", "client=2"), ("c2", "client=1")):
        there.kill(name)  # what a host is, is asked once: let them join anew
        there.worker(name, label, f"tcp://10.77.0.1:{hosts.PORT}")
    until(lambda: [host["clients"] for host in there.listed()][:2] == [200, 100], 40)
    folder = tmp_path / "s"
    done = there.run(workload(tmp_path, clients="[240, 400]"), "--unchecked", "--out", folder)
    assert done.returncode == 0
    fits, refused = sorted(store.load(folder).measurements, key=lambda m: m.trial.load.clients)
    assert (fits.status, fits.served) == ("ok", 240)
    assert refused.status == "not run"
    assert (
        "400 clients do not fit, 300 would: c1 has room for 200 (100 local ports" in refused.reason
    )


def test_thirty_thousand_connections_from_two_hosts(network, tmp_path):
    """More than one host has ports for, onto one server of several processes: none is lost."""
    there = network()
    clients = 30_000
    processes = 1 + clients // (launch.raise_descriptor_limit() - 2000)
    folder = tmp_path / "s"
    path = workload(tmp_path, kind="idle", clients=clients, duration_s=3)
    done = there.run(
        *(path, "--unchecked", "--processes", processes, "--out", folder), timeout_s=300
    )
    assert done.returncode == 0, done.stderr
    (measured,) = store.load(folder).measurements
    assert (measured.status, measured.reason) == ("ok", "")
    assert (measured.connected, measured.served, measured.lost) == (clients, clients, 0)
    assert measured.trial.server == f"asyncio_streams-x{processes}"
    assert [host.clients for host in measured.hosts] == [0, 15_000, 15_000]
