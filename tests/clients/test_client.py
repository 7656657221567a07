"""Guards the shared client: what it counts, names and refuses, against real sockets."""

import ast
import contextlib
import graphlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import result
from plan import Plan, PlanError, read

from c10k import paths

# The ceiling is low: a server that never answers again has the longest round trips of all.
QUICK = {"clients": 4, "warmup_s": 0.05, "duration_s": 0.3, "ceiling_s": 0.4, "drain_s": 0.5}


@pytest.mark.parametrize("message_bytes", [16, 64, 1460, 65_536, 300_000])
@pytest.mark.parametrize("depth", [1, 7])
def test_closed_loop_echoes_every_byte(serving, client, message_bytes, depth):
    """Every size and depth runs without a lost or altered echo, and counts add up."""
    port = serving("asyncio_streams").address[1]
    seen = result(client(**QUICK, port=port, message_bytes=message_bytes, depth=depth))
    assert seen["messages"] > 0
    assert seen["count_sum"] == seen["messages"]
    assert (seen["lost"], seen["altered"], seen["errors"]) == (0, 0, {})
    assert seen["clients_without_echo"] == 0


def test_the_barrier_comes_before_any_measuring(serving, client):
    """The connected line is first and counts every client; then comes what a slice has."""
    port = serving("asyncio_streams").address[1]
    events = client(**{**QUICK, "clients": 50}, port=port)
    assert (events[0]["connected"], events[0]["served"]) == (50, 50)
    assert [event["event"] for event in events] == ["connected", "warmed", "ended", "result"]


def test_idle_holds_and_echoes_once_more(fake, client):
    """An idle client says nothing during the slice, then echoes exactly once."""
    said = []

    def reply(connection, data, number):
        said.append((number, time.perf_counter_ns()))
        connection.sendall(data)

    events = client(**{**QUICK, "clients": 30, "kind": "idle"}, port=fake(reply))
    assert (result(events)["messages"], result(events)["lost"]) == (30, 0)
    ended = events[-2]
    assert sorted(number for number, _ in said) == [0] * 30 + [1] * 30
    assert not [at for _, at in said if ended["start_ns"] < at < ended["end_ns"]]


def test_a_unix_socket_will_do(serving, client, tmp_path):
    """The client reaches a server by path as well as by port."""
    serving("asyncio_streams", bind=f"unix:{tmp_path}/s")
    assert result(client(**QUICK, path=f"{tmp_path}/s"))["messages"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is Linux's")
def test_source_addresses_rotate(client, fake):
    """Clients connect from each source address in turn."""
    peers = []

    def reply(connection, data, number):
        peers.append(connection.getpeername()[0])
        connection.sendall(data)

    sources = ["127.0.0.1", "127.0.0.2"]
    assert result(client(**QUICK, port=fake(reply), sources=sources))["lost"] == 0
    assert set(peers) == set(sources)


def test_a_pause_at_the_barrier_ends_with_a_line(serving):
    """A held worker measures only when told, and leaves when its master has gone."""
    port = serving("asyncio_streams").address[1]
    plan = json.dumps({**QUICK, "port": port, "hold": True}) + "\n"
    told = b'go\n{"slice_s": 0.3}\n'
    for tell, last in ((told, b'"event":"result"'), (b"", b'"event":"connected"')):
        worker = subprocess.Popen(
            [sys.executable, str(paths.CLIENT), "--plan", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        worker.stdin.write(plan.encode())
        worker.stdin.flush()
        assert b'"event":"connected"' in worker.stdout.readline()
        rest, _ = worker.communicate(tell, timeout=30)
        assert worker.returncode == 0
        assert last in rest or (not tell and not rest)


# name of the fault → what a server does that has it; the first echo is honest
FAULTS = {
    "altered": lambda c, data, n: c.sendall(data if n == 0 else data[:20] + b"!" + data[21:]),
    "doubled": lambda c, data, n: c.sendall(data if n == 0 else data + data),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("depth", [1, 3])
def test_a_wrong_echo_is_counted_and_named(client, fake, fault, depth):
    """An echo that differs is never averaged away: each client's stream ends with its name."""
    seen = result(client(**QUICK, port=fake(FAULTS[fault]), depth=depth))
    assert seen["altered"] == 4
    if depth == 1:
        assert seen["faults"] == {fault: 4}


def test_a_stale_echo_is_named_doubled(client, fake):
    """A server that answers with what it answered before sends a doubled echo."""
    last = {}

    def reply(connection, data, number):
        connection.sendall(last.get(connection, data) if number == 2 else data)
        last[connection] = data

    assert result(client(**QUICK, port=fake(reply)))["faults"] == {"doubled": 4}


def test_another_clients_echo_is_named_misdirected(client, fake):
    """A server that shares one buffer between clients is caught as misdirecting."""
    first = []

    def reply(connection, data, number):
        first.append(data)
        connection.sendall(data if number == 0 else first[0][:-8] + data[-8:])

    seen = result(client(**QUICK, port=fake(reply)))
    assert seen["faults"] == {"misdirected": 3}


def test_what_never_comes_back_is_lost(client, fake):
    """A server that stops answering loses one message of each client, and it ends in time."""
    seen = result(client(**QUICK, port=fake(lambda c, data, n: c.sendall(data) if n < 3 else None)))
    assert seen["lost"] == 4
    assert seen["altered"] == 0


def test_a_short_echo_is_lost_not_altered(client, fake):
    """Half an echo is not an echo."""
    seen = result(
        client(**QUICK, port=fake(lambda c, data, n: c.sendall(data if n == 0 else data[:9])))
    )
    assert (seen["lost"], seen["altered"]) == (4, 0)


def test_a_started_echo_that_starts_again_is_no_echo(client, fake):
    """Half an echo followed by the whole one is a wrong stream, not a right echo."""
    halves = set()

    def reply(connection, data, number):
        if number == 0 or connection in halves:
            connection.sendall(data)
            return
        halves.add(connection)
        connection.sendall(data[:9])
        time.sleep(0.05)
        connection.sendall(data)

    assert result(client(**QUICK, port=fake(reply)))["altered"] == 4


def test_echoes_are_counted_in_bins_from_the_beginning(serving, client):
    """Every reading has its time and all echoes until then, the warm-up's included."""
    port = serving("asyncio_streams").address[1]
    events = client(**QUICK, port=port, bins_ms=10)
    bins = result(events)["bins"]
    assert bins == sorted(bins)
    assert [at_ns for at_ns, _ in bins[:-1]] == [
        10_000_000 * number for number in range(1, len(bins))
    ]
    elapsed_ns, echoes = bins[-1]
    assert elapsed_ns >= 345_000_000
    start_ns = result(events)["slice_start_ns"]
    assert start_ns >= 45_000_000  # the warm-up; a timer may be early by a millisecond
    warm = [count for at_ns, count in bins if at_ns <= start_ns]
    assert echoes >= result(events)["messages"] + (warm[-1] if warm else 0)


def test_a_server_that_hangs_up_is_one_error(client, fake):
    """A connection closed in the middle is an error, once: its message is not lost beside it."""

    def reply(connection, data, number):
        if number == 0:
            connection.sendall(data)
        else:
            connection.shutdown(socket.SHUT_RDWR)

    seen = result(client(**QUICK, port=fake(reply)))
    assert sum(seen["errors"].values()) == 4
    assert seen["lost"] == 0


def test_clients_that_are_never_served_are_counted_with_the_reason(client, fake):
    """A listener that never answers leaves its clients connected and not served."""
    events = client(**QUICK, port=fake(lambda c, data, n: None), connect_timeout_s=0.5)
    assert (events[0]["connected"], events[0]["served"]) == (4, 0)
    assert events[0]["failed"] == {"no first echo within 0.5 s": 4}


def test_nobody_there_is_counted_too(client):
    """A refused connection is a reason, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    events = client(**QUICK, port=port)
    assert events[0]["failed"] == {"Connection refused": 4}


def test_connections_in_flight_are_bounded(client, fake):
    """The ramp never has more unanswered connections than the plan allows."""
    waiting, most = set(), []
    lock = threading.Lock()

    def reply(connection, data, number):
        if number == 0:
            with lock:
                waiting.add(connection)
                most.append(len(waiting))
            time.sleep(0.01)
            with lock:
                waiting.discard(connection)
        connection.sendall(data)

    client(**{**QUICK, "clients": 60}, port=fake(reply), connecting=5)
    assert max(most) <= 5


def test_a_starved_client_is_seen(client, fake):
    """A server that serves only half of its clients shows as that many without an echo."""
    served = iter(range(1000))
    mine = {}

    def reply(connection, data, number):
        if number == 0:
            mine[connection] = next(served) % 2
            connection.sendall(data)
        elif mine[connection]:
            connection.sendall(data)

    seen = result(client(**{**QUICK, "clients": 20}, port=fake(reply)))
    assert seen["clients_without_echo"] == 10


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        ({"port": 1, "clients": 0}, "clients"),
        ({"port": 1, "clients": 10**12}, "clients"),
        ({"port": 1, "message_bytes": 3}, "message_bytes"),
        ({"port": 1, "kind": "burst"}, "kind"),
        ({"port": 1, "colour": "red"}, "colour"),
        ({"port": "x"}, "port"),
        ({}, "port"),
        ({"port": 1, "duration_s": -1}, "duration_s"),
        ({"port": 1, "ceiling_s": 0}, "ceiling_s"),
        ({"port": 1, "kind": "open"}, "rate"),
        ({"port": 1, "kind": "open", "rate": 1e12}, "rate"),
        ({"port": 1, "kind": "open", "rate": -1}, "rate"),
        ({"port": 1, "kind": "open", "rate": 10, "depth": 2}, "depth"),
        ({"port": 1, "kind": "open", "rate": 10, "arrivals": "burst"}, "arrivals"),
        ({"port": 1, "kind": "open", "rate": 10, "seed": -1}, "seed"),
        ({"port": 1, "rate": 10}, "rate"),
        ({"port": 1, "bins_ms": 0}, "bins_ms"),
    ],
)
def test_a_bad_plan_is_one_line_that_names_the_key(client, plan, names):
    """Nonsense in the plan: exit code 2 and one line, before anything opens."""
    said = client(expected_code=2, **plan)
    assert names in said
    assert len(said.splitlines()) == 1


@given(st.text() | st.binary())
def test_no_text_crashes_the_plan(text):
    """Whatever is given as a plan, it is read or refused."""
    with contextlib.suppress(PlanError):
        read(text)


@given(st.from_type(dict) | st.dictionaries(st.sampled_from(Plan.__struct_fields__), st.integers()))
def test_no_json_crashes_the_plan(document):
    """A plan of the right form with absurd values is read or refused."""
    try:
        text = msgspec.json.encode(document)
    except (TypeError, ValueError, OverflowError):
        return
    with contextlib.suppress(PlanError):
        read(text)


def test_the_clients_modules_have_no_circle():
    """Each can be read after those that it imports."""
    files = {path.stem: path for path in paths.CLIENT.parent.glob("*.py")}
    imported = {
        name: {
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module in files
        }
        for name, path in files.items()
    }
    assert set(graphlib.TopologicalSorter(imported).static_order()) == set(files)


def test_help_shows_an_example():
    """The client alone is usable: its help says how."""
    done = subprocess.run(
        [sys.executable, str(paths.CLIENT), "--help"], capture_output=True, text=True, check=True
    )
    assert "example:" in done.stdout
    assert "--clients" in done.stdout


def test_too_few_descriptors_is_one_line(tmp_path):
    """More clients than descriptors: refused before anything opens, with what to type."""
    done = subprocess.run(
        [
            "sh",
            "-c",
            f"ulimit -n 256; exec {sys.executable} {paths.CLIENT} --port 9 --clients 500",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ulimit -n" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupt_ends_it_without_a_traceback(serving):
    """Ctrl-C at any moment: no traceback, and the process is gone."""
    port = serving("asyncio_streams").address[1]
    worker = subprocess.Popen(
        [sys.executable, str(paths.CLIENT), "--port", str(port), "--clients", "10"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert b"connected" in worker.stdout.readline()
    os.kill(worker.pid, signal.SIGINT)
    _, errors = worker.communicate(timeout=10)
    assert b"Traceback" not in errors
    assert worker.returncode == 130


def test_memory_stays_constant_however_long_the_run(serving, client):
    """Ten times the messages do not take more memory: latencies are tallied, not kept."""
    port = serving("uvloop_protocol").address[1]
    short = result(client(**{**QUICK, "duration_s": 0.3}, port=port))
    long = result(client(**{**QUICK, "duration_s": 3.0}, port=port))
    assert long["messages"] > 3 * short["messages"]
    assert long["peak_bytes"] < short["peak_bytes"] + 4 * 1024 * 1024
