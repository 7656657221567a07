"""Guards the contenders: each keeps the contract, and is the kind of file the rules ask for."""

import ast
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace
from waiting import until

from c10k import check, launch, paths
from c10k.declare import catalog
from c10k.launch import hooked, requirements

SERVERS = catalog.find(paths.SERVERS)
CANONICAL = {
    "threads_sockets",
    "gevent_streamserver",
    "twisted_protocol",
    "asyncio_streams",
    "uvloop_streams",
    "curio_sockets",
    "trio_streams",
}

MOSTLY_WAITING = {"idle-long", "slow-loris", "overflow"}

# What a framework's documented ways do not keep: server → case → why.
ASYNCIO = {"out-of-descriptors": "left as the tutorial has it (cpython issue 151615)"}
SEVERAL_LIBUV = {
    "out-of-descriptors": "libuv closes a spare one and accepts: another loop may take it meanwhile"
}
LACKS = {
    "asyncio_streams": ASYNCIO,
    "asyncio_streams_accepts_1": ASYNCIO,
    "asyncio_streams_accepts_100": ASYNCIO,
    "asyncio_streams_counted": ASYNCIO,
    "asyncio_streams_tuned": ASYNCIO,
    "asyncio_streams_uncollected": ASYNCIO
    | {"churn": "what its clients leave refers to itself in circles, and nobody looks for them"},
    "asyncio_eager": ASYNCIO,
    "asyncio_protocol": ASYNCIO,
    "asyncio_buffered": ASYNCIO,
    "asyncio_threads": ASYNCIO,
    "asyncio_threads_reuseport": ASYNCIO,
    "asyncio_subinterpreters": ASYNCIO,
    "uvloop_threads": SEVERAL_LIBUV,
    "uvloop_threads_reuseport": SEVERAL_LIBUV,
    "aiofastnet_streams": {
        "out-of-descriptors": "1.2 means to wait, and calls remove_reader on the socket"
    },
    "tonio_streams": dict.fromkeys(
        ("half-close", "backlog", "overflow", "ipv6", "unix", "read-size"),
        "0.10 can end when it was stopped and continues: an interrupted wait is an error to it",
    ),
    "tornado_tcpserver": {
        "out-of-descriptors": "6.6 says that there is none and tries at once again"
    },
}

# Counts the clients that asyncio accepts in each turn that it is told to.
ACCEPTS = """
import asyncio.selector_events as events, sys
taken = 0
Loop = events.BaseSelectorEventLoop
def accepting(loop, factory, listener, *rest, original=Loop._accept_connection):
    global taken
    taken = 0
    original(loop, factory, Counted(listener), *rest)
    print(taken, file=sys.stderr)
class Counted:
    def __init__(self, listener):
        self.listener = listener
    def accept(self):
        global taken
        found = self.listener.accept()
        taken += 1
        return found
    def __getattr__(self, name):
        return getattr(self.listener, name)
Loop._accept_connection = accepting
"""


@pytest.fixture(params=SERVERS, ids=lambda server: server.name)
def server(request):
    """Each server in turn; skipped, visibly, where it cannot run."""
    if reason := requirements.why_not_runnable(request.param):
        pytest.skip(reason)
    return request.param


WRITTEN = [each for each in SERVERS if each.path.endswith(".py")]  # the others have no Python text


@pytest.fixture(params=WRITTEN, ids=lambda each: each.name)
def source(request):
    """A Python server's text, whether its framework is installed or not."""
    return paths.file_of(request.param.path).read_text(encoding="utf-8")


def ask(client, data=b"?"):
    client.sendall(data)
    return client.recv(len(data))


def loops(process):
    """How many epolls a process has: one for each of its event loops."""
    found = 0
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            found += str(link.readlink()) == "anon_inode:[eventpoll]"
    return found


@pytest.fixture
def fair(server, request):
    """Each server that is expected to keep the contract; of the others, that they do not."""
    if server.name == "rloop_streams":
        why = "rloop 0.5 leaves the sockets of clients that left open, and has no UNIX sockets"
        request.applymarker(pytest.mark.xfail(reason=why, strict=True))
    return server


def lacks(server, cases, folder):
    """What a server lacks of these cases, its known lacks left out."""
    names = [case.name for case in cases]
    if server.name == "rloop_streams":
        names = ["one-byte", "unix"]  # each of the others would wait in vain
    found = check.check(server, names, workdir=folder).results
    known = LACKS.get(server.name, {})
    return [
        each for each in found if each.verdict in ("failed", "unclean") and each.case not in known
    ]


def test_it_keeps_the_contract(fair, tmp_path):
    """The first kit, as `c10k check` and every session run it."""
    assert lacks(fair, check.CASES, tmp_path) == []


@pytest.mark.once
def test_it_keeps_it_with_many_and_at_its_limits(fair, tmp_path, short_kit):
    """The longer cases, shortened; `tox run -e kit` has them in full."""
    cases = [case for case in check.LONG if case.name not in MOSTLY_WAITING]
    assert lacks(fair, cases, tmp_path) == []


def test_resets_make_no_noise_without_bound(server, tmp_path):
    """Two hundred clients that leave rudely do not fill the log."""
    with launch.serving(server, tmp_path / "log") as running:
        before = running.log.read_text()  # some say at once that they are deprecated
        for i in range(200):
            client = running.connect()
            if i % 2:
                client.sendall(b"x" * 100_000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert ask(running.connect()) == b"?"
        assert running.log.read_text() == before


def test_the_processes_of_a_forking_server_end_with_their_clients_and_with_it(tmp_path):
    """One process a client, reaped when that leaves; none survives SIGTERM."""
    server = catalog.read(paths.SERVERS / "socketserver_forking.py")
    with launch.serving(server, tmp_path / "log") as running:
        clients = [running.connect() for _ in range(5)]
        assert all(ask(client) == b"?" for client in clients)
        children = psutil.Process(running.pid).children()
        for client in clients[:3]:
            client.close()
        until(lambda: len(psutil.Process(running.pid).children()) == 2)
        running.process.terminate()
        assert running.process.wait(launch.STOP_S) == 0
        assert not psutil.wait_procs(children, timeout=0)[1]


def test_a_worker_that_ends_is_replaced_and_none_outlives_the_master(tmp_path):
    """As many workers as gunicorn advises; all serve, and SIGTERM to the master ends them."""
    server = catalog.read(paths.SERVERS / "prefork_sockets.py")
    cpus = sorted(os.sched_getaffinity(0))[:1]
    with launch.serving(server, tmp_path / "log", cpus=cpus) as running:
        master = psutil.Process(running.pid)
        until(lambda: len(master.children()) == 3)
        killed, *kept = master.children()
        killed.kill()
        until(lambda: len(master.children()) == 3 and killed not in master.children())
        assert set(kept) < set(master.children())
        clients = [running.connect() for _ in range(30)]
        assert all(ask(client) == b"?" for client in clients)
        workers = master.children()
        running.process.terminate()
        assert running.process.wait(launch.STOP_S) == 0
        assert not psutil.wait_procs(workers, timeout=launch.STOP_S)[1]


def exactly(client, size):
    """So many bytes of what a client gets back."""
    found = bytearray()
    while len(found) < size and (data := client.recv(size - len(found))):
        found += data
    return bytes(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("limited = 1;", "limited = 0;"),
        ("if (ring < 0 && errno == EINVAL)", "close(ring);"),
        ("ENTRIES = 1024, RESULTS = 16384", "ENTRIES = 64, RESULTS = 64"),
        ("BUFFERS = 128", "BUFFERS = 4"),
    ],
    ids=["one receive a read", "before Linux 6.1", "short queues", "few buffers"],
)
def test_io_uring_serves_where_the_kernel_has_less(old, new, tmp_path):
    """What this kernel would never show: the ways of older ones, and queues that run full."""
    server = catalog.read(paths.SERVERS / "uring_c.toml")
    if reason := requirements.why_not_runnable(server):
        pytest.skip(reason)
    text = (paths.SERVERS / "uring_c.c").read_text()
    assert text.count(old) == 1
    (tmp_path / "uring_c.c").write_text(text.replace(old, new))
    (tmp_path / "uring_c.toml").write_text((paths.SERVERS / "uring_c.toml").read_text())
    less = catalog.read(tmp_path / "uring_c.toml")
    with launch.serving(less, tmp_path / "log") as running:
        running.process.send_signal(signal.SIGSTOP)  # so that all of it is there at once
        waiting = [running.connect() for _ in range(500)]
        for client in waiting:
            client.sendall(b"?")
        running.process.send_signal(signal.SIGCONT)
        assert all(client.recv(1) == b"?" for client in waiting)
        talking = [running.connect() for _ in range(50)]
        for number, client in enumerate(talking):
            client.sendall(bytes([number]) * 100_000)
        for number, client in enumerate(talking):
            assert exactly(client, 100_000) == bytes([number]) * 100_000


@pytest.mark.parametrize("name", ["asyncio_streams_counted", "trio_streams_counted"])
def test_the_collector_s_runs_are_told_at_the_end(name, tmp_path):
    """How many there were, and none of it before: nothing is written while clients are there."""
    server = catalog.read(paths.SERVERS / f"{name}.toml")
    if reason := requirements.why_not_runnable(server):
        pytest.skip(reason)
    with launch.serving(server, tmp_path / "log") as running:
        clients = [running.connect() for _ in range(300)]
        assert all(ask(client) == b"?" for client in clients)
        assert running.log.read_text() == ""
        running.process.terminate()
        assert running.process.wait(launch.STOP_S) == 0
    found = re.match(r"runs of generations 0, 1, 2: \[(\d+), \d+, \d+\]", running.log.read_text())
    assert found
    assert int(found[1]) > 0


def test_every_canonical_server_has_a_tuned_one():
    """Each differs from its base in the hook alone; none has the collector off unsafely."""
    tuned = {each.name: each for each in SERVERS if each.tier == "tuned"}
    expected = {f"{name}_tuned" for name in CANONICAL}
    expected |= {f"{name}_uncollected" for name in CANONICAL - {"asyncio_streams"}}
    assert set(tuned) == expected
    for server in tuned.values():
        base = catalog.read(paths.file_of(server.base))
        own = {key: getattr(base, key) for key in ("name", "path", "title", "tier")}
        assert replace(server, **own, base="", hook="") == base
        assert base.name in CANONICAL


@pytest.mark.parametrize(
    ("hook", "told"), [("tuned", "True True 50000 20 20"), ("off", "False False 700 10 10")]
)
def test_the_collector_is_set_when_the_server_serves(hook, told, tmp_path):
    """After all of start-up, and before the statement that serves: here that one tells."""
    server = tmp_path / "tells_all.py"
    server.write_text(
        "import gc\nfrozen = gc.get_freeze_count()\ngc.set_threshold(700, 10, 10)\n"
        "print(gc.isenabled(), gc.get_freeze_count() > frozen, *gc.get_threshold(), __name__)"
    )
    path = paths.SERVERS / "hooks" / f"collector_{hook}.py"
    words = [sys.executable, "-P", hooked.__file__, server, path]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{told} __main__\n"


def test_curio_serves_without_its_assertions(tmp_path):
    """The variant that starts itself again with -O stays the process that was started, and
    loses curio's search through all tasks that were woken together."""
    server = catalog.read(paths.SERVERS / "curio_sockets_optimised.py")
    if reason := requirements.why_not_runnable(server):
        pytest.skip(reason)
    with launch.serving(server, tmp_path / "log") as running:
        words = psutil.Process(running.pid).cmdline()
        assert words[1:3] == ["-O", "-P"]
        assert ask(running.connect()) == b"?"


@pytest.mark.parametrize(("name", "most"), [("accepts_1", 1), ("accepts_100", 100)])
def test_asyncio_accepts_so_many_in_a_turn(name, most, tmp_path):
    """The loop takes backlog for the number of clients a turn; the kernel's queue stays long."""
    server = catalog.read(paths.SERVERS / f"asyncio_streams_{name}.py")
    tracer = tmp_path / "sitecustomize.py"
    tracer.write_text(ACCEPTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with launch.serving(server, tmp_path / "log") as running:
            os.kill(running.pid, signal.SIGSTOP)
            clients = [running.connect() for _ in range(250)]
            os.kill(running.pid, signal.SIGCONT)
            assert all(ask(client) == b"?" for client in clients)
            assert running.backlog().limit == launch.BACKLOG
            turns = [int(line) for line in running.log.read_text().split()]
    assert max(turns) == most


@pytest.mark.parametrize("cores", [1, None], ids=["on one core", "on all"])
@pytest.mark.parametrize(
    "name",
    [
        "asyncio_threads",
        "asyncio_threads_reuseport",
        "uvloop_threads",
        "uvloop_threads_reuseport",
        "selectors_threads",
        "asyncio_subinterpreters",
    ],
)
def test_it_has_a_loop_for_each_core_that_it_may_use(name, cores, tmp_path):
    """As many as it is pinned to, whatever the machine has; with reuseport a listener each."""
    server = catalog.read(paths.SERVERS / f"{name}.py")
    if reason := requirements.why_not_runnable(server):
        pytest.skip(reason)
    cpus = sorted(os.sched_getaffinity(0))[:cores]
    with launch.serving(server, tmp_path / "log", cpus=cpus) as running:
        process = psutil.Process(running.pid)
        until(lambda: loops(process) == len(cpus))
        clients = [running.connect() for _ in range(30)]
        assert all(ask(client) == b"?" for client in clients)
        statuses = [each.status for each in process.net_connections("tcp")]
        listening = statuses.count(psutil.CONN_LISTEN)
        assert listening == (len(cpus) if server.reuseport else 1)


def test_the_canonical_seven_are_there():
    """The promise of the first page: seven equivalent servers, and a floor below them."""
    tiers = {each.name: each.tier for each in SERVERS}
    assert {name for name, tier in tiers.items() if tier == "canonical"} == CANONICAL
    assert "floor" in tiers.values()


def test_it_is_short(source):
    """Under 40 lines, blank ones, the block of metadata and the docstring not counted."""
    body = source.partition('"""')[2].partition('"""')[2]
    assert len([line for line in body.splitlines() if line.strip()]) < 40


def test_its_docstring_says_what_the_unit_is_and_where_it_switches(source):
    """A reader learns from each server how it does concurrency."""
    said = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    assert "The unit of concurrency is" in said
    assert "switches" in said


def test_it_is_honest_about_its_name():
    """`<framework>_<api>`: no file can shadow the module that it imports."""
    for each in SERVERS:
        assert "_" in each.name
        assert each.name not in sys.stdlib_module_names
