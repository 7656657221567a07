"""Guards the servers that ask Redis: each asks it, keeps the contract, and stalls nobody else."""

import ast
import os
import signal
import socket

import pytest
from waiting import until

from c10k import check, launch, paths
from c10k.declare import catalog, choosing, workload
from c10k.launch import requirements

pytestmark = pytest.mark.once

SERVERS = catalog.find(paths.SERVERS / "backend")


@pytest.fixture(params=SERVERS, ids=lambda server: server.name)
def server(request):
    """Each server in turn; skipped, visibly, where it cannot run."""
    if reason := requirements.why_not_runnable(request.param):
        pytest.skip(reason)
    return request.param


def ask(client, data=b"?"):
    client.sendall(data)
    return client.recv(len(data))


def asked(running):
    """How often Redis was asked for an echo."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(running.redis.socket))
        client.sendall(b"INFO commandstats\r\n")
        said = client.recv(65536)
    return int(said.partition(b"cmdstat_echo:calls=")[2].partition(b",")[0])


def test_it_keeps_the_contract(server, tmp_path):
    """The first kit, as a session runs it, with a Redis behind the server."""
    assert check.check(server, workdir=tmp_path).failures == ()


def test_every_message_is_asked_of_redis_but_a_plain_one(server, tmp_path):
    """An exact echo proves that the backend was asked, also of bytes that look like numbers."""
    with launch.serving(server, tmp_path / "log") as running, running.connect() as client:
        before = asked(running)
        for data in (b"17", b"-1\r\n", b"\x00\xff\xfe", b"a line\n"):
            assert ask(client, data) == data
        assert asked(running) == before + 4
        assert ask(client, b"!plain and asked of nobody") == b"!plain and asked of nobody"
        assert ask(client, b"!wait 3\n") == b"!wait 3\n"
        assert asked(running) == before + 4


def test_only_the_blocking_driver_stalls_the_other_clients(server, tmp_path):
    """Whose echo comes first while Redis lets one client wait."""
    with (
        launch.serving(server, tmp_path / "log") as running,
        running.connect() as one,
        running.connect() as other,
    ):
        assert ask(one, b"!wait 1\n") == b"!wait 1\n"  # connects the server to Redis
        assert ask(other) == b"?"
        one.sendall(b"!wait 1500\n")
        # until Redis has the question
        until(lambda: b"blocked_clients:1" in info(running))
        other.sendall(b"!plain")
        one.setblocking(False)
        if server.name == "asyncio_redis_blocking":
            other.settimeout(0.2)
            with pytest.raises(TimeoutError):
                other.recv(6)
        else:
            assert other.recv(6) == b"!plain"
            with pytest.raises(BlockingIOError):
                one.recv(64)


def info(running):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(running.redis.socket))
        client.sendall(b"INFO clients\r\n")
        return client.recv(65536)


def test_it_has_as_many_connections_as_its_row_says(server, tmp_path):
    """With more clients than the pool has, all are answered, and Redis sees 32 at most."""
    with launch.serving(server, tmp_path / "log") as running:
        clients = [running.connect() for _ in range(100)]
        for client in clients:
            client.sendall(b"!wait 20\n")
        most = 0
        for client in clients:
            most = max(most, int(info(running).partition(b"connected_clients:")[2].split()[0]) - 1)
            assert client.recv(64) == b"!wait 20\n"
            client.close()
    assert most <= 32
    assert server.name == "asyncio_redis_blocking" or most > 1
    (note,) = server.notes
    assert "a pool of 32" in note.text


def test_a_client_is_disconnected_when_redis_ends(server, tmp_path):
    """Nobody gets an echo that was not asked of Redis, and the server itself stays."""
    if server.name == "twisted_txredisapi":
        pytest.skip("txredisapi waits until there is a Redis again")
    with launch.serving(server, tmp_path / "log") as running, running.connect(60.0) as client:
        assert ask(client) == b"?"
        os.killpg(running.redis.process.pid, signal.SIGKILL)
        until(running.redis.why_gone)
        client.sendall(b"lost")
        assert client.recv(64) == b""
        with running.connect(60.0) as another:
            assert ask(another, b"!plain") == b"!plain"
        assert running.process.poll() is None


def test_the_workload_runs_all_of_them():
    """@backend is a tier of its own, and no other tier has a server that needs a backend."""
    known = catalog.known().servers
    chosen = workload.choose("backend", paths.WORKLOADS)
    assert choosing.choose(chosen.servers, known) == SERVERS
    assert all(server.needs == "redis" and server.tier == "backend" for server in SERVERS)
    assert not [each for each in known if each.needs and each not in SERVERS]


def test_they_stand_alone():
    """No server imports the suite, or another server."""
    stems = {server.name for server in SERVERS} | {"c10k"}
    for server in SERVERS:
        tree = ast.parse(paths.file_of(server.path).read_text())
        imported = {
            name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in [getattr(node, "module", None) or "", *(each.name for each in node.names)]
        }
        assert not imported & stems, server.name
