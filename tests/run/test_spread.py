"""Guards the readings of the spread: who of a server's processes or threads holds a client."""

import os
import pickle
import socket
import subprocess
import sys

import made
import pytest
from msgspec.structs import replace

from c10k import machine, plan
from c10k.declare import catalog
from c10k.launch import runtime, spread
from c10k.model import ServerUse, Worker
from c10k.run.executor import Rules
from c10k.run.local import LocalExecutor

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

HEAD = """# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "t"
# model = "m"
# unit = "u"
# tier = "variant"
# ///
import os, select, socket, subprocess, sys, threading, time
listener = socket.socket(fileno=0)
"""

# A thread per client in each process, which accepts no more than it has room for.
ROOM = """
def echo(client):
    with client:
        while data := client.recv(65536):
            client.sendall(data)
    room.release()

def serve():
    while True:
        room.acquire()
        client, _ = listener.accept()
        threading.Thread(target=echo, args=(client,), daemon=True).start()
"""
EVEN = HEAD + ROOM + "room = threading.Semaphore(10)\nserve()\n"
ONE_HAS_ALL = (
    HEAD
    + ROOM
    + """
room = threading.Semaphore(1000)
try:
    os.close(os.open("first", os.O_CREAT | os.O_EXCL))  # both start in the same folder
except FileExistsError:
    time.sleep(600)
serve()
"""
)
# A master that never serves, two that do, and a helper.
FORKS = (
    HEAD
    + ROOM
    + """
room = threading.Semaphore(10)
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
for _ in range(2):
    if not os.fork():
        serve()
time.sleep(600)
"""
)
# A loop for each of two threads. The listener wakes both, and the main thread accepts for them.
LOOPS = """
def loop(ready):
    while True:
        for number, _ in ready.poll():
            if number and (data := os.read(number, 65536)):
                os.write(number, data)
            elif number:
                ready.unregister(number)
                clients.pop(number).close()

clients, loops = {}, [select.epoll(), select.epoll()]
for ready in loops:
    ready.register(0, select.EPOLLIN | select.EPOLLET)
    threading.Thread(target=loop, args=(ready,), daemon=True).start()
served = 0
while True:
    client, _ = listener.accept()
    clients[client.fileno()] = client
    loops[TURN].register(client.fileno(), select.EPOLLIN)
    served += 1
"""


@pytest.fixture
def held(tmp_path):
    """held(server's text, processes) → the workers of a short trial with 20 clients."""

    def run(text, processes=1, kind="closed"):
        path = tmp_path / "made_server.py"
        path.write_text(text)
        server = replace(catalog.read(path), processes=processes)
        short = made.load(20, kind=kind, warmup_s=0.1, duration_s=0.4, ceiling_s=4.0)
        chosen = made.workload([server.name], [short], 1, connect_timeout_s=10.0, drain_s=2.0)
        planned = plan.make(chosen, [server], 1)
        rules = Rules({server.name: runtime.prepare(server)})
        pinning = machine.Pinning(None, None, 1, "not pinned")
        seen = LocalExecutor(planned, tmp_path, rules, pinning)(planned.trials[0])
        assert (seen.status, seen.reason) == ("ok", "")
        return seen.server.workers

    return run


def counts(workers):
    return sorted(each.clients for each in workers)


def test_a_process_that_got_no_client_is_counted_with_none(held):
    """Of two that the suite started, one accepts all; the other uses no CPU time either."""
    workers = held(ONE_HAS_ALL, processes=2)
    assert counts(workers) == [0, 20]
    none, everybody = sorted(workers, key=lambda each: each.clients)
    assert none.cpu_s == 0 < everybody.cpu_s


@pytest.mark.parametrize("kind", ["closed", "storm", "idle"])
def test_processes_that_share_alike_hold_as_many(held, kind):
    """Each has room for half of the clients. The launcher's own first echo is not counted."""
    assert counts(held(EVEN, processes=2, kind=kind)) == [10, 10]


def test_masters_and_helpers_are_no_workers(held):
    """Only what a server started itself holds its clients, so only that is counted."""
    assert counts(held(FORKS)) == [10, 10]


@pytest.mark.parametrize(
    ("turn", "expected"), [("served % 2", [10, 10]), ("0", [0, 20])], ids=["even", "one has all"]
)
def test_loops_of_threads_are_told_by_what_they_wait_for(held, turn, expected):
    """The main thread, which accepts and never waits in epoll, is not one of them."""
    workers = held(HEAD + LOOPS.replace("TURN", turn))
    assert counts(workers) == expected
    assert all(each.cpu_s is not None for each in workers)
    assert max(workers, key=lambda each: each.clients).cpu_s > 0


def test_a_single_loop_and_a_thread_per_client_share_nothing(held):
    """There are no workers to compare: a thread of its own for each client is not a share."""
    assert held(HEAD + ROOM + "room = threading.Semaphore(1000)\nserve()\n") == ()


def test_what_has_too_many_threads_or_processes_is_not_read():
    """Up to 64: with more, not even their names are listed."""
    thread = "threading.Thread(target=input).start()"
    script = f"import threading\nfor _ in range({spread.WORKERS_MAX}): {thread}\nprint(1)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-uc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        assert spread.thread_times([process.pid]) == {}
        process.kill()
    assert spread.thread_times([os.getpid(), 1]) == {}
    assert spread.clients(range(100), [1], 1) == {}


def test_a_server_that_shares_nothing_costs_no_reading(monkeypatch):
    """One process with one thread: the machine's connections are not even listed."""
    monkeypatch.setattr(spread, "_sockets", lambda port: pytest.fail("they were listed"))
    with subprocess.Popen(["sleep", "600"]) as process:
        assert spread.clients([process.pid], [process.pid], 1) == {}
        process.kill()


def test_connections_of_others_and_in_the_accept_queue_are_not_clients():
    """Only this end of connections to the port counts, and only once it was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ours = [os.getpid(), os.getppid()]
        with socket.create_connection(("127.0.0.1", port)):
            assert spread.clients(ours, ours, port)[os.getpid()] == 0
            with listener.accept()[0]:
                assert spread.clients(ours, ours, port)[os.getpid()] == 1
    assert spread.clients(ours, ours, None) == {}  # a UNIX socket


def test_the_spread_reaches_the_command_from_another_host():
    """It is part of what the server's host answers, which Dask sends as a pickle."""
    use = ServerUse(workers=(Worker(0.5, 10), Worker(None, 0)))
    assert pickle.loads(pickle.dumps(use)) == use
