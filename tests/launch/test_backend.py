"""Guards the Redis of a server that needs one: it is there, is its own, and ends with it."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import made
import psutil
import pytest
from command import c10k
from msgspec.structs import replace
from waiting import until

from c10k import launch, machine, paths, plan
from c10k.declare import catalog
from c10k.launch import backend, keeper, requirements, runtime
from c10k.run import session, store
from c10k.run.executor import Rules
from c10k.run.local import LocalExecutor

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
]
with_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="redis-server is not on PATH (apt-get install redis-server)",
)

# Speaks to Redis by itself, so that these tests need no driver.
ASKS = '''# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asks"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# needs = "redis"
# ///
"""Sends every read through Redis."""

import os, socket, threading


def echo(client):
    with client, socket.socket(socket.AF_UNIX) as db:
        db.connect(os.environ["REDIS_URL"].removeprefix("unix://"))
        while data := client.recv(65536):
            db.sendall(b"*2\\r\\n$4\\r\\nECHO\\r\\n$%d\\r\\n%s\\r\\n" % (len(data), data))
            reply = b""
            while len(reply) < 7 or not reply.endswith(b"\\r\\n"):
                if not (part := db.recv(65536)):
                    return
                reply += part
            client.sendall(reply.partition(b"\\r\\n")[2][:-2])


listener = socket.socket(fileno=0)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
'''


@pytest.fixture
def asks(tmp_path):
    """A server that asks Redis."""
    path = tmp_path / "asks_redis.py"
    path.write_text(ASKS)
    return catalog.read(path)


def ask(client, data=b"?"):
    client.sendall(data)
    return client.recv(len(data))


def told(redis, words):
    """What this Redis says to one line."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(redis.socket))
        client.sendall(words + b"\r\n")
        return client.recv(65536)


def gone(running):
    """Whether neither the server nor its Redis is there, and no file of theirs."""
    marks = (running.mark, running.redis.mark)
    return not any(map(keeper.carrying, marks)) and not running.redis.folder.exists()


@with_redis
def test_each_echo_was_asked_of_redis(asks, tmp_path):
    """Redis counts as many questions as the client sent messages, and the launcher's own."""
    with launch.serving(asks, tmp_path / "log") as running, running.connect() as client:
        for number in range(10):
            assert ask(client, b"%010d" % number) == b"%010d" % number
        assert b"cmdstat_echo:calls=11," in told(running.redis, b"INFO commandstats")
    assert gone(running)


@with_redis
def test_it_is_the_servers_own_and_keeps_nothing(asks, tmp_path):
    """Two servers have two; nobody else may enter the folder; nothing is to be saved."""
    with launch.serving(asks, tmp_path / "a") as one, launch.serving(asks, tmp_path / "b") as two:
        told(one.redis, b"SET of one")
        assert told(two.redis, b"GET of") == b"$-1\r\n"
        assert told(one.redis, b"CONFIG GET save") == b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
        assert told(one.redis, b"CONFIG GET port") == b"*2\r\n$4\r\nport\r\n$1\r\n0\r\n"
        assert stat.S_IMODE(keeper.keeper().folder.stat().st_mode) == 0o700
        files = {path.name for path in one.redis.folder.iterdir()}
        assert files == {"redis.sock", "log"}
    assert gone(one)
    assert gone(two)


@with_redis
def test_it_runs_on_the_servers_cores_and_is_not_read_as_the_server(asks, tmp_path):
    """It is pinned as the server is, and in no reading of the server's processes."""
    core = min(os.sched_getaffinity(0))
    with launch.serving(asks, tmp_path / "log", cpus=[core]) as running:
        redis = running.redis.process.pid
        assert os.sched_getaffinity(redis) == {core}
        assert redis not in launch.processes.tree(running.pids)


def test_a_server_that_needs_none_has_none(serving):
    """No Redis is started for it, whether there is one on PATH or not."""
    assert serving("threads_sockets").redis is None


@with_redis
@pytest.mark.parametrize("who", ["the server", "the server's Redis"])
def test_what_was_killed_is_named_and_the_other_ends(asks, tmp_path, who):
    """After kill -9 of either, why_gone() says which, and stop() leaves nothing."""
    running = launch.start(asks, tmp_path / "log")
    try:
        victim = running.process if who == "the server" else running.redis.process
        victim.kill()
        assert until(running.why_gone) == f"{who} was killed by SIGKILL"
    finally:
        running.stop()
    assert gone(running)


@with_redis
def test_a_trial_whose_redis_is_killed_fails_with_that_reason(asks, tmp_path, monkeypatch):
    """The row says what ended, and the next trial has a Redis again."""
    short = made.load(10, warmup_s=0.1, duration_s=1.0)
    planned = plan.make(made.workload([asks.name], [short], 2), [asks], 1)
    head = replace(made.session(), plan=planned, measurements=())
    writer = store.create(tmp_path / "s", head)
    start, started = backend.start, []

    def noted(server, cpus):
        started.append(start(server, cpus))
        return started[-1]

    monkeypatch.setattr(backend, "start", noted)

    class Killing(LocalExecutor):
        def crew(self, *given):
            if len(started) == 1:
                os.kill(started[0].process.pid, signal.SIGKILL)
            return super().crew(*given)

    rules = Rules({asks.name: runtime.prepare(asks)})
    pinning = machine.Pinning(None, None, 1, "not pinned")
    session.run(planned, Killing(planned, writer.logs, rules, pinning), writer)
    writer.close()
    first, second = store.load(tmp_path / "s").measurements
    assert (first.status, first.reason) == ("failed", "the server's Redis was killed by SIGKILL")
    assert second.status == "ok", second.reason


OWNER = """
import signal, sys, time
from pathlib import Path
from c10k import launch; from c10k.declare import catalog; from c10k.launch import keeper
running = launch.start(catalog.read(Path(sys.argv[1])), Path(sys.argv[2]))
print(keeper.keeper().mark, keeper.keeper().folder, running.redis.process.pid, flush=True)
time.sleep(60)
"""


@with_redis
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_does_not_outlive_its_owner(asks, tmp_path, how):
    """However the command ends: no Redis, no socket."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, paths.file_of(asks.path), tmp_path / "log"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with owner:
        mark, folder, redis = owner.stdout.readline().split()
        assert psutil.pid_exists(int(redis))
        owner.send_signal(how)
        owner.wait(20)
    until(lambda: not keeper.carrying(mark) and not Path(folder).exists())


def test_without_redis_it_is_not_run(asks, tmp_path, monkeypatch):
    """A line says what is missing and how to get it; an isolated server says the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = "redis-server is not on PATH (apt-get install redis-server)"
    assert requirements.why_not_runnable(asks) == reason
    assert requirements.versions(asks) == {}
    for server in (asks, replace(asks, isolated=True)):
        with pytest.raises(runtime.CannotRun) as refused:
            runtime.prepare(server)
        assert str(refused.value) == reason
    with pytest.raises(launch.NotServing) as failed:
        launch.start(asks, tmp_path / "log")
    assert str(failed.value) == reason


def test_a_session_without_redis_says_so_in_its_row(asks, tmp_path):
    """The row is there, not run, with the reason; the command goes on."""
    (tmp_path / "bin").mkdir()
    words = (
        "run",
        "quick",
        "--servers",
        paths.file_of(asks.path),
        "threads_sockets",
        "--clients",
        "10",
    )
    done = c10k(
        *words, "--blocks", "1", "--out", tmp_path / "s", code=None,
        environment={"PATH": str(tmp_path / "bin")},
    )  # fmt: skip
    assert "redis-server is not on PATH" in done.stdout + done.stderr
    found = store.load(tmp_path / "s").measurements
    row = next(each for each in found if each.trial.server == asks.name)
    assert (row.status, row.reason.partition(" (")[0]) == (
        "not run", "redis-server is not on PATH",
    )  # fmt: skip


@with_redis
def test_a_path_that_is_too_long_for_a_socket_is_one_line(asks, tmp_path):
    """A UNIX socket's address has 107 bytes; the remedy is a variable."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    done = c10k("check", paths.file_of(asks.path), code=1, environment={"TMPDIR": str(deep)})
    said = [line for line in done.stdout.splitlines() if "not run" in line]
    assert len(said) == 1
    assert "107 is the most: set TMPDIR to a folder with a shorter path" in said[0]


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("echo '1:M 1 Jan # no room'; exit 3", "the server's Redis exited with code 3: no room"),
        ("exit 0", "the server's Redis exited with code 0"),
        ("kill -9 $$", "the server's Redis was killed by SIGKILL"),
    ],
)
def test_a_redis_that_does_not_start_is_the_reason(asks, tmp_path, monkeypatch, does, said):
    """Its own words are quoted, and nothing stays."""
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    with pytest.raises(launch.NotServing) as failed:
        launch.start(asks, tmp_path / "log")
    assert str(failed.value) == said
    assert keeper.carrying(keeper.keeper().mark) == []


def test_an_unknown_need_is_refused(tmp_path):
    """The line says which needs there are."""
    path = tmp_path / "asks_redis.py"
    path.write_text(ASKS.replace('needs = "redis"', 'needs = "oracle"'))
    with pytest.raises(catalog.CatalogError, match=r"needs: 'oracle' is not one of redis$"):
        catalog.read(path)
