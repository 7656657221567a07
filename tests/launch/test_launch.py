"""Guards the launcher: the socket that a server gets, and that nothing outlives its stop."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from waiting import gone, until

from c10k import launch, paths
from c10k.declare import catalog
from c10k.launch import server as launching

BAD = Path(__file__).parents[1] / "bad_servers"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")

HEAD = """\
# /// script
# [tool.c10k]
# title = "probe"
# model = "none"
# unit = "none"
# tier = "variant"
# ///
import os, resource, socket, sys
listener = socket.socket(fileno=0)
client, _ = listener.accept()
client.recv(1)
"""


@pytest.fixture
def probe(tmp_path):
    """probe(expression) → what it is inside a server, as text."""

    def ask(expression, **options):
        path = tmp_path / "probe.py"
        path.write_text(
            HEAD + f"client.sendall(b'?' + repr({expression}).encode())\n"
            "client.close()\nlistener.accept()[0].recv(1)\n"
        )
        original = launching._await_echo
        answer = []

        def await_answer(running, deadline):
            with running.connect() as client:
                client.sendall(b"?")
                answer.append(b"".join(iter(lambda: client.recv(4096), b""))[1:].decode())

        launching._await_echo = await_answer
        try:
            launch.start(catalog.read(path), tmp_path / "probe.log", **options).stop()
        finally:
            launching._await_echo = original
        return answer[0]

    return ask


def test_standard_input_is_the_listening_socket(probe):
    """The contract's first point: descriptor 0 listens, and blocks as a fresh socket does."""
    option = "socket.SOL_SOCKET, socket.SO_ACCEPTCONN"
    if sys.platform == "linux":
        assert probe(f"listener.getsockopt({option})") == "1"
    assert probe("os.get_blocking(0)") == "True"


def test_accepted_sockets_inherit_nodelay(probe):
    """No server need set TCP_NODELAY, so none can be slow for want of it."""
    value = probe("client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)")
    assert int(value) != 0


def test_no_module_beside_the_server_can_shadow_a_library(probe):
    """Started with -P: the server's folder is not searched."""
    assert probe("sys.flags.safe_path") == "True"


@LINUX
def test_the_backlog_is_read_back_from_the_kernel(serving):
    """The accept queue's bound and length, seen through the launcher's own copy."""
    running = serving("threads_sockets")
    given = min(launch.BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    assert running.backlog() == (0, given)
    os.kill(running.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(running.pid).status() == psutil.STATUS_STOPPED)  # accepts no more
    waiting = [running.connect() for _ in range(7)]
    assert running.backlog().length == 7
    os.kill(running.pid, signal.SIGCONT)
    for client in waiting:
        client.close()


@LINUX
def test_the_cores_it_may_use_are_those_given(probe):
    """Pinning: a server runs where it is told to."""
    core = max(os.sched_getaffinity(0))
    assert probe("os.sched_getaffinity(0)", cpus=[core]) == f"{{{core}}}"


def test_the_descriptor_limit_is_inherited(probe):
    """Raised once in the launcher, the limit holds for every server."""
    hard = launch.raise_descriptor_limit()
    assert probe("resource.getrlimit(resource.RLIMIT_NOFILE)") == f"({hard}, {hard})"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard


@LINUX
def test_its_log_cannot_fill_the_disk(probe):
    """What a server may write to a file is bounded by the kernel while it runs."""
    limit, _ = map(int, re.findall(r"\d+", probe("resource.getrlimit(resource.RLIMIT_FSIZE)")))
    assert limit == 64 * 1024 * 1024


def test_the_log_is_trimmed_to_its_two_ends(serving):
    """A megabyte of complaints leaves the first and the last of them."""
    running = serving(BAD / "shouts_on_stderr.py")
    running.stop()
    text = running.log.read_text()
    assert len(text) < launch.LOG_BYTES + 100
    assert text.startswith("first complaint")
    assert "bytes left out" in text
    assert text.endswith("complaint last\n")


def test_standard_output_is_kept_apart(serving):
    """What a server says where it should say nothing can be told from its errors."""
    running = serving(BAD / "chatters_on_stdout.py")
    assert running.said() == b"hello\n"
    assert running.log.read_bytes() == b""


def test_stop_ends_what_the_server_started(serving):
    """A server that ignores SIGTERM, and its child, are killed after two seconds."""
    running = serving(BAD / "ignores_sigterm.py")
    child = int(running.log.read_text().split()[1])
    assert psutil.pid_exists(child)
    stopped = running.stop()
    assert stopped.killed
    assert stopped.took_s >= launch.STOP_S
    assert running.process.returncode == -signal.SIGKILL
    until(lambda: gone(child))


def test_stop_frees_the_address_and_may_be_called_twice(serving):
    """The listening socket is gone with its server."""
    running = serving("threads_sockets")
    host, port = running.address
    assert not running.stop().killed
    running.stop()
    launch.listen(f"{host}:{port}").close()


@LINUX
def test_a_server_does_not_outlive_its_parent(tmp_path):
    """A launcher that is killed leaves no server behind."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from c10k import launch; from c10k.declare import catalog\n"
        "server = catalog.read(Path(sys.argv[1]))\n"
        "print(launch.start(server, Path(sys.argv[2])).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    server = str(paths.SERVERS / "threads_sockets.py")
    words = [sys.executable, "-c", script, server, str(tmp_path / "log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    until(lambda: gone(pid))


def test_gone_says_why(serving):
    """How a server ended, with its last words: a row's reason."""
    running = serving(BAD / "dies_in_service.py")
    assert running.why_gone() == ""
    client = running.connect()
    with pytest.raises(OSError):
        while True:
            client.sendall(b"x" * 100_000)
            client.recv(1 << 20)
    running.process.wait(5)
    assert running.why_gone() == "the server exited with code 3: the last word"


def test_a_server_that_hangs_at_start_is_given_up(tmp_path):
    """The wait for the first echo is bounded, and its end says what the server said last."""
    server = catalog.read(BAD / "hangs_at_start.py")
    with pytest.raises(launch.NotServing, match=r"no echo.*: still waiting for a licence"):
        launch.start(server, tmp_path / "log", ready_s=1.0)


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit(7)", "exited with code 7"),
        ("import no_such_framework", "No module named 'no_such_framework'"),
    ],
)
def test_a_server_that_ends_at_start_says_why(tmp_path, body, words):
    """A crash is reported at once, with its last line."""
    path = tmp_path / "crashes.py"
    path.write_text(HEAD.partition("import")[0] + body)
    with pytest.raises(launch.NotServing, match=re.escape(words)):
        launch.start(catalog.read(path), tmp_path / "log")


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_a_program_is_built_once(tmp_path, monkeypatch):
    """Built on demand into the cache; the second start finds it there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    server = catalog.read(paths.SERVERS / "epoll_c.toml")
    first = launch.command(server)
    built = Path(first[0]).stat().st_mtime_ns
    assert launch.command(server) == first
    assert Path(first[0]).stat().st_mtime_ns == built


def test_without_a_compiler_the_reason_says_so(tmp_path, monkeypatch):
    """The floor's row tells what to install."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    server = catalog.read(paths.SERVERS / "epoll_c.toml")
    with pytest.raises(launch.NotServing, match="cc is not on PATH"):
        launch.command(server)


@pytest.mark.parametrize("bind", ["nonsense", "host:", "1.2.3.4:99999", "host:port"])
def test_what_is_no_address_is_refused(bind):
    """The message shows the forms that are addresses."""
    with pytest.raises(ValueError, match=r"invalid address .*: write HOST:PORT"):
        launch.listen(bind)


def test_a_unix_socket_is_removed_at_the_end(serving, tmp_path):
    """UNIX: served, no accept queue to read, and no file left."""
    path = tmp_path / "socket"
    running = serving("threads_sockets", bind=f"unix:{path}")
    assert running.address == str(path)
    assert running.backlog() is None
    running.stop()
    assert not path.exists()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6_is_served(serving):
    """Square brackets make the address IPv6."""
    running = serving("threads_sockets", bind="[::1]:0")
    assert running.listener.family == socket.AF_INET6
    with running.connect() as client:
        client.sendall(b"six")
        assert client.recv(3) == b"six"


@pytest.mark.parametrize("sharing", ["one-socket", "reuseport"])
def test_copies_serve_together_and_end_together(tmp_path, sharing):
    """Each copy is a process of its own that serves; none outlives the stop."""
    one = catalog.read(paths.SERVERS / "asyncio_streams.py")
    server = msgspec.structs.replace(one, processes=3, sharing=sharing)
    running = launch.start(server, tmp_path / "log")
    pids = running.pids
    assert len(set(pids)) == 3
    assert len(running.listeners) == (1 if sharing == "one-socket" else 3)
    assert running.backlog().limit == launch.BACKLOG * len(running.listeners)
    clients = [running.connect() for _ in range(60)]
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
    assert [client.recv(10) for client in clients] == [b"%d" % n for n in range(60)]
    held = [psutil.Process(pid).num_fds() for pid in pids]
    assert sum(held) >= 60
    if sharing == "reuseport":
        assert min(held) > 8  # the kernel spreads them
    for client in clients:
        client.close()
    assert not running.stop().killed
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("reuseport", [True, False])
def test_an_address_is_shared_only_with_a_server_that_asks_for_it(tmp_path, reuseport):
    """Further listeners of its own need the first one bound with SO_REUSEPORT; nobody else does."""
    one = catalog.read(paths.SERVERS / "threads_sockets.py")
    server = msgspec.structs.replace(one, reuseport=reuseport)
    with launch.serving(server, tmp_path / "log") as running:
        found = running.listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        assert bool(found) == reuseport
    bind = f"unix:{tmp_path / 'socket'}"  # which has no such option, and is served all the same
    with launch.serving(server, tmp_path / "log", bind=bind) as running:
        assert running.listener.family == socket.AF_UNIX


def test_one_copy_that_dies_is_told(tmp_path):
    """A server of several processes is gone when any of them is."""
    one = catalog.read(paths.SERVERS / "threads_sockets.py")
    server = msgspec.structs.replace(one, processes=2, sharing="one-socket")
    running = launch.start(server, tmp_path / "log")
    try:
        assert running.why_gone() == ""
        os.kill(running.pids[1], signal.SIGKILL)
        running.processes[1].wait()
        assert running.why_gone() == "a process of the server was killed by SIGKILL"
    finally:
        running.stop()


def test_copies_cannot_share_a_unix_address(tmp_path):
    """SO_REUSEPORT is for addresses with ports; the error says so and leaves nothing open."""
    one = catalog.read(paths.SERVERS / "threads_sockets.py")
    server = msgspec.structs.replace(one, processes=2, sharing="reuseport")
    with pytest.raises(ValueError, match="UNIX"):
        launch.start(server, tmp_path / "log", bind=f"unix:{tmp_path / 'socket'}")


def test_an_interrupt_while_a_child_is_asked_for_its_end_makes_nobody_wait_for_ever():
    """What an interrupt leaves behind just after poll() took its lock: the lock is taken."""
    child = launch.Child(["sleep", "60"])
    child._waitpid_lock.acquire()
    assert child.poll() is None
    child.kill()
    assert child.wait(10) == -signal.SIGKILL
