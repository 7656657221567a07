"""Guards the client's books: each failure once, and nobody pays for another's."""

import asyncio
import collections
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from made import result
from recorded import latencies_of

from c10k import paths

QUICK = {"clients": 4, "warmup_s": 0.05, "duration_s": 0.3, "ceiling_s": 0.4, "drain_s": 0.5}
LOADS = {
    "closed": {},
    "pipelined": {"depth": 3},
    "open": {"kind": "open", "rate": 2000},
    "idle": {"kind": "idle"},
}


@pytest.mark.parametrize("kind", LOADS)
def test_a_connection_that_the_server_closed_is_never_written_to(client, fake, kind):
    """Every second client is closed after its first echo, while others connect.

    The number of its descriptor is then another's. What was written to it there was an
    innocent stream's: 52 of 200 were "altered".
    """
    count, lock = iter(range(10**6)), threading.Lock()

    def reply(connection, data, number):
        connection.sendall(data)
        if number == 0:
            with lock:
                mine = next(count)
            if mine % 2:
                raise OSError  # this ends the connection

    began = time.monotonic()
    plan = {**QUICK, **LOADS[kind], "clients": 400, "connecting": 16, "drain_s": 30}
    events = client(**plan, port=fake(reply))
    seen = result(events)
    assert (events[0]["served"], events[0]["failed"]) == (400, {})
    assert seen["errors"] == {"closed by the server": 200}
    assert (seen["faults"], seen["lost"]) == ({}, 0)
    assert seen["clients_without_echo"] in ({0, 200} if kind == "open" else {200})
    assert time.monotonic() - began < 25  # nobody waits for those who have gone


@pytest.mark.parametrize("kind", ["closed", "pipelined", "open"])
def test_a_connection_that_ends_in_the_slice_does_not_cost_the_drain(client, fake, kind):
    """One of four is gone: one error, nothing lost beside it, and its wait is in the figures."""
    count, lock = iter(range(10)), threading.Lock()
    mine = {}

    def reply(connection, data, number):
        if number == 0:
            with lock:
                mine[connection] = next(count)
        elif mine[connection] == 2 and number > 20:
            raise OSError
        time.sleep(0.001)
        connection.sendall(data)

    began = time.monotonic()
    seen = result(client(**{**QUICK, **LOADS[kind], "drain_s": 30}, port=fake(reply)))
    assert sum(seen["errors"].values()) == 1
    assert (seen["lost"], seen["altered"]) == (0, 0)
    recorded = latencies_of(seen).get_total_count()
    if kind == "open":
        assert recorded == seen["intended"]
    else:
        assert recorded > seen["messages"]
    assert time.monotonic() - began < 25


@pytest.mark.parametrize("kind", ["closed", "pipelined", "open", "idle", "storm"])
def test_a_connection_that_ends_before_its_first_echo_fails_once(client, fake, kind):
    """It is among those that were never served, and no error beside that."""

    def reply(connection, data, number):
        raise OSError

    events = client(**{**QUICK, **LOADS.get(kind, {"kind": kind})}, port=fake(reply))
    seen = result(events)
    barrier = seen if kind == "storm" else events[0]
    assert barrier["served"] == 0
    assert sum(barrier["failed"].values()) == 4
    assert (seen["errors"], seen["lost"]) == ({}, 0)


def test_a_newcomer_that_is_hung_up_on_counts_once(client, fake):
    """Churn: each such connection is one error, and the next one is tried."""
    refused = []

    def reply(connection, data, number):
        if int.from_bytes(data[:8], "little") >= 1 << 40:  # a newcomer
            refused.append(data[:8])
            raise OSError
        connection.sendall(data)

    plan = {**QUICK, "kind": "churn", "connecting": 2, "drain_s": 0.3}
    seen = result(client(**plan, port=fake(reply)))
    assert 0 < sum(seen["errors"].values()) <= len(refused)
    assert sum(seen["errors"].values()) >= len(refused) - 2 * 2


def test_a_wrong_first_echo_is_named_where_it_belongs(client, fake):
    """The client was not served, and the echo was altered: each book has its own line."""
    events = client(**QUICK, port=fake(lambda c, data, n: c.sendall(data[:20] + b"!" + data[21:])))
    assert events[0]["failed"] == {"altered echo": 4}
    assert (result(events)["faults"], result(events)["errors"]) == ({"altered": 4}, {})


@pytest.mark.parametrize("kind", ["closed", "pipelined", "open"])
def test_who_comes_too_late_takes_no_part(client, fake, kind):
    """A first echo after the time to connect is heard by nobody, and starts no load."""
    heard, lock = collections.Counter(), threading.Lock()
    count, late = iter(range(10)), set()

    def reply(connection, data, number):
        with lock:
            if number == 0 and next(count) >= 2:
                late.add(connection)
            heard[connection] += 1
        if number == 0 and connection in late:
            time.sleep(0.9)
        connection.sendall(data)

    plan = {**QUICK, **LOADS[kind], "duration_s": 1.0, "ceiling_s": 1.0}
    events = client(**plan, connect_timeout_s=0.4, port=fake(reply))
    seen = result(events)
    assert events[0]["served"] == 2
    assert events[0]["failed"] == {"no first echo within 0.4 s": 2}
    assert {heard[connection] for connection in late} == {1}
    assert (seen["errors"], seen["lost"], seen["altered"]) == ({}, 0, 0)
    if kind != "open":
        assert seen["count_sum"] == seen["messages"]


# Connecting


def test_a_cancelled_connect_closes_no_stranger(monkeypatch):
    """uvloop closed the number; the socket that still has it must not close it again.

    Nor may the failure to do so take the place of the cancellation.
    """
    import asyncio_crowd

    kept = []

    class Loop:
        async def sock_connect(self, chosen, address):
            pass

        async def create_connection(self, made, sock):
            number = sock.fileno()
            os.close(number)  # what the loop does when it is cancelled
            stranger = os.open("/dev/null", os.O_RDONLY)
            os.dup2(stranger, number)
            kept.append((number, stranger))
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    with pytest.raises(asyncio.CancelledError):
        asyncio_crowd.connect_from("127.0.0.1", ("127.0.0.1", 9), lambda: None).send(None)
    for number, stranger in kept:
        os.fstat(number)  # the stranger's is open
        os.close(number)
        if stranger != number:
            os.close(stranger)


def test_many_connects_that_are_cut_off_end_in_time(client):
    """Nobody accepts, from two sources: only the time that was over, and no other reason."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    port = listener.getsockname()[1]
    sources = ["127.0.0.1", "127.0.0.2"] if sys.platform == "linux" else ["127.0.0.1"]
    plan = {**QUICK, "clients": 600, "connecting": 300, "connect_timeout_s": 0.3}
    events = client(**plan, port=port, sources=sources)
    listener.close()
    assert events[0]["failed"] == {"no first echo within 0.3 s": 600}
    assert result(events)["errors"] == {}


@pytest.mark.parametrize("drain_s", [0, 0.2])
def test_newcomers_that_are_cut_off_end_in_time(client, drain_s):
    """Churn at whose end nobody accepts: those under way are cancelled, and that is all."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)

    def serve():
        for _ in range(200):
            connection, _ = listener.accept()
            connection.sendall(connection.recv(65536))
            threading.Thread(target=leave, args=(connection,), daemon=True).start()

    def leave(connection):
        with connection:
            connection.recv(65536)

    threading.Thread(target=serve, daemon=True).start()
    plan = {"kind": "churn", "clients": 100, "connecting": 20, "sources": ["127.0.0.1"]}
    seen = result(client(**{**QUICK, **plan, "drain_s": drain_s}, port=listener.getsockname()[1]))
    listener.close()
    assert seen["errors"] == {}
    assert seen["lost"] == 20


def test_a_name_is_looked_up_once(monkeypatch):
    """Not once a connection: what answers is kept, and only addresses are connected to."""
    from asyncio_crowd import AsyncioCrowd
    from plan import Plan

    asked, connected = [], []

    class Loop(asyncio.SelectorEventLoop):
        async def getaddrinfo(self, host, port, **kind):
            asked.append(host)
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::2", port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port)),
            ]

        async def create_connection(self, made, host, port):
            connected.append(host)
            if host == "::2":
                raise ConnectionRefusedError
            raise TimeoutError("nobody") if len(connected) > 100 else OSError(9, "told")

    made = AsyncioCrowd(Plan(port=9, host="a.example", clients=5))
    loop = Loop()
    loop.run_until_complete(made.connect_all(1))
    assert asked == ["a.example"]
    assert connected == ["::2", "192.0.2.1"] * 5  # none answers, so each is tried
    assert made.failed == {"told": 5}

    async def answers(self, made, host, port):
        connected.append(host)
        if host == "::2":
            raise ConnectionRefusedError
        client = made()
        client.ended = "enough"
        return None, client

    connected.clear()
    monkeypatch.setattr(Loop, "create_connection", answers)
    loop.run_until_complete(made.connect_all(1))
    loop.close()
    assert asked == ["a.example"]
    assert connected == ["::2"] + ["192.0.2.1"] * 5


def test_a_name_without_an_address_is_a_reason(client):
    """Every client fails by it, once."""
    events = client(**QUICK, port=9, host="no-such-name.invalid")
    assert sum(events[0]["failed"].values()) == 4
    assert len(events[0]["failed"]) == 1


def test_localhost_will_do(client, fake):
    """A name whose first address may be one where nobody listens."""
    port = fake(lambda connection, data, number: connection.sendall(data))
    assert client(**QUICK, port=port, host="localhost")[0]["served"] == 4


# Where it runs


def test_a_hard_limit_above_the_kernels_own_is_taken_as_far_as_it_goes(monkeypatch):
    """Containers inherit such limits; setting even the same one again is refused."""
    import echo_client
    from plan import Plan, PlanError

    most = int(Path("/proc/sys/fs/nr_open").read_text(encoding="ascii"))
    taken = []

    def setrlimit(which, limits):
        if limits[1] > most:
            raise ValueError("not allowed to raise maximum limit")
        taken.append(limits)

    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 2**30 + most))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    echo_client.allow_descriptors(Plan(port=1, clients=2000))
    assert taken == [(most, most)]
    with pytest.raises(PlanError, match=f"than the {most} this process"):
        echo_client.allow_descriptors(Plan(port=1, clients=most))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(PlanError, match="than the 1024 this process"):
        echo_client.allow_descriptors(Plan(port=1, clients=2000))


def refuse(which, limits):
    raise ValueError("current limit exceeds maximum limit")


def test_it_starts_where_a_scripts_own_folder_is_not_trusted():
    """PYTHONSAFEPATH keeps a script's folder off sys.path; the client finds its parts."""
    done = subprocess.run(
        [sys.executable, str(paths.CLIENT), "--help"],
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# Churn


def test_what_was_sent_again_before_the_slice_is_not_the_slices(client):
    """Handshakes were dropped while all connected; in the slice nothing is sent again."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2)

    def serve():
        select.select([listener], [], [])  # the worker takes its time to start
        time.sleep(1.5)
        listener.listen(4096)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    def echo(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    plan = {"clients": 20, "connecting": 20, "connect_timeout_s": 20, "ceiling_s": 1.0}
    seen = result(client(kind="churn", port=listener.getsockname()[1], **{**QUICK, **plan}))
    listener.close()
    assert seen["messages"] > 20
    assert seen["retried"] == 0
