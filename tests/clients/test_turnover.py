"""Guards storm and churn: who came, who was served, what had to be sent again."""

import select
import socket
import threading
import time

import pytest
from made import result
from recorded import latencies_of


def test_in_a_storm_nobody_is_there_before_and_all_are_after(serving, client):
    """The barrier is empty; the result tells of every client that came."""
    port = serving("asyncio_streams").address[1]
    events = client(kind="storm", port=port, clients=300)
    assert (events[0]["connected"], events[0]["served"]) == (0, 0)
    seen = result(events)
    assert (seen["connected"], seen["served"], seen["failed"]) == (300, 300, {})
    assert (seen["messages"], seen["lost"], seen["altered"]) == (300, 0, 0)
    assert latencies_of(seen).get_total_count() == 300
    assert 0 < seen["launched_s"] <= seen["connect_s"]


def test_a_dropped_handshake_is_seen_as_one(client):
    """More clients than the accept queue holds, and nobody accepts for 2.5 s: sent again.

    The kernel tries again after 1 s; then, by its version, after 1 s or 2 s more.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=2)

    def late():
        select.select([listener], [], [])  # the worker takes its time to start
        time.sleep(2.5)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    def echo(connection):
        while data := connection.recv(65536):
            connection.sendall(data)

    threading.Thread(target=late, daemon=True).start()
    port = listener.getsockname()[1]
    seen = result(client(kind="storm", port=port, clients=20, connect_timeout_s=20))
    listener.close()
    assert seen["served"] == 20
    assert 10 <= seen["retried"] <= 20
    assert latencies_of(seen).get_max_value() >= 1.9e9


def test_clients_that_a_storm_leaves_unserved_count_with_the_time_they_waited(fake, client):
    """Nobody is dropped from the percentiles."""
    silent = []
    port = fake(lambda connection, data, number: silent.append(data))
    seen = result(client(kind="storm", port=port, clients=30, connect_timeout_s=0.5))
    assert seen["served"] == 0
    assert seen["failed"] == {"no first echo within 0.5 s": 30}
    assert latencies_of(seen).get_total_count() == 30
    assert latencies_of(seen).get_min_value() >= 0.3e9


def test_churn_replaces_clients_and_each_says_one_message(fake, client):
    """Every connection is another client with one message; all are there the whole time."""
    said, lock = [], threading.Lock()

    def reply(connection, data, number):
        with lock:
            said.append((data[:8], number))
        connection.sendall(data)

    port = fake(reply)
    seen = result(
        client(kind="churn", port=port, clients=20, connecting=5, warmup_s=0.1, duration_s=0.5)
    )
    assert (seen["lost"], seen["altered"], seen["errors"]) == (0, 0, {})
    assert seen["messages"] > 20
    assert {number for _, number in said} == {0}
    assert len({ident for ident, _ in said}) == len(said)


def test_a_server_that_does_not_close_is_named(client):
    """A client that ended its stream waits for the server to close; in vain is an error."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    kept = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
                kept.append(connection)
                connection.sendall(connection.recv(65536))
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    plan = {"warmup_s": 0.1, "duration_s": 0.2, "ceiling_s": 0.4, "drain_s": 0.3}
    seen = result(client(kind="churn", port=port, clients=8, connecting=4, **plan))
    listener.close()
    assert seen["errors"] == {"not closed by the server": 4}
    assert (seen["messages"], seen["lost"]) == (0, 0)


def test_a_client_that_is_never_answered_in_churn_is_lost(fake, client):
    """It came within the slice and had no echo: lost, and it counts in the percentiles."""
    answered = []

    def reply(connection, data, number):
        answered.append(data)
        if len(answered) <= 8:
            connection.sendall(data)

    plan = {"warmup_s": 0.1, "duration_s": 0.2, "ceiling_s": 0.4, "drain_s": 0.3}
    seen = result(client(kind="churn", port=fake(reply), clients=8, connecting=4, **plan))
    assert seen["lost"] == 4
    assert latencies_of(seen).get_total_count() == 4


@pytest.mark.parametrize("kind", ["storm", "churn"])
def test_a_server_that_is_not_there_is_an_error_and_no_hang(client, kind):
    """Refused connections are counted by name, and the worker comes to its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    began = time.monotonic()
    events = client(kind=kind, port=port, clients=10, warmup_s=0.1, duration_s=0.2)
    failed = events[-1]["failed"] if kind == "storm" else events[0]["failed"]
    assert failed == {"Connection refused": 10}
    assert time.monotonic() - began < 10
