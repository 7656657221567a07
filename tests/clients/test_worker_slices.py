"""Guards the slice as a real worker keeps it: told when to begin, against known servers.

It asserts counts, or lengths that a busy machine can only add to.
"""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from made import result
from orders import Orders

from c10k import paths

MS, S = 1_000_000, 1_000_000_000
QUICK = {"clients": 4, "warmup_s": 0.05, "duration_s": 0.3, "ceiling_s": 0.4, "drain_s": 0.5}


# The worker and whoever drives it


class Held:
    """A worker that gets the order to begin and the length of its slice."""

    def __init__(self, **plan):
        self.process = subprocess.Popen(
            [sys.executable, str(paths.CLIENT), "--plan", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.tell({**plan, "hold": True})

    def tell(self, order):
        line = order if isinstance(order, str) else json.dumps(order)
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, event):
        line = self.process.stdout.readline()
        said = json.loads(line) if line else {"event": None}
        assert said["event"] == event, (said, line or self.process.stderr.read())
        return said

    def close(self):
        out, errors = self.process.communicate(timeout=30)
        return self.process.returncode, out, errors.decode()


LOADS = {
    "closed": {},
    "pipelined": {"depth": 5},
    "churn": {"kind": "churn", "connecting": 3},
    "open": {"kind": "open", "rate": 400},
    "idle": {"kind": "idle"},
    "storm": {"kind": "storm"},
}


@pytest.mark.parametrize("kind", LOADS)
def test_the_order_of_what_is_said(serving, kind):
    """connected, go, warmed, (the slice's length), ended, result: and nothing else."""
    worker = Held(**{**QUICK, **LOADS[kind]}, port=serving("asyncio_streams").address[1])
    worker.hear("connected")
    worker.tell("go")
    warmed = worker.hear("warmed")
    told = kind in ("closed", "pipelined", "churn")
    if told:
        assert warmed["round_trip_ns"] > 0
        assert warmed["messages"] > 0
        now_ns = time.perf_counter_ns()
        worker.tell({"slice_s": 0.7})
    ended = worker.hear("ended")
    seen = worker.hear("result")
    if told:
        assert seen["slice_s"] == 0.7
        assert ended["start_ns"] >= now_ns
        assert ended["end_ns"] - ended["start_ns"] >= 0.69 * S
    assert (seen["lost"], seen["altered"], seen["errors"]) == (0, 0, {})
    assert worker.close()[0] == 0


def test_it_waits_for_its_order_under_load(serving):
    """The load goes on until the line has come, and its echoes are not the slice's."""
    worker = Held(**QUICK, port=serving("asyncio_streams").address[1])
    worker.hear("connected")
    worker.tell("go")
    warmed = worker.hear("warmed")
    time.sleep(0.5)
    worker.tell({"slice_s": 0.3})
    worker.hear("ended")
    seen = worker.hear("result")
    assert seen["slice_start_ns"] >= warmed["elapsed_ns"] + 0.4 * S
    assert seen["count_sum"] == seen["messages"] < seen["bins"][-1][1]
    worker.close()


def test_a_worker_leaves_when_nobody_is_there_to_say_how_long(serving):
    """The engine has gone: no result, no traceback."""
    worker = Held(**QUICK, port=serving("asyncio_streams").address[1])
    worker.hear("connected")
    worker.tell("go")
    worker.hear("warmed")
    assert worker.close() == (0, b"", "")


@pytest.mark.parametrize("order", ["long", '{"slice_s": -1}', '{"slice_s": 1, "more": 2}'])
def test_what_is_no_order_is_one_line(serving, order):
    """Nonsense instead of the slice's length: exit code 2, and why."""
    worker = Held(**QUICK, port=serving("asyncio_streams").address[1])
    worker.hear("connected")
    worker.tell("go")
    worker.hear("warmed")
    worker.tell(order)
    code, out, errors = worker.close()
    assert (code, out) == (2, b"")
    assert errors.startswith("echo_client: the slice: ")
    assert len(errors.splitlines()) == 1


def test_orders_come_in_any_pieces(tmp_path):
    """Lines together, lines in parts, a file: each is told once and in order."""
    path = tmp_path / "orders"
    path.write_bytes(b"one\ntwo\nthree")

    async def hear():
        with path.open("rb") as file:
            orders = Orders(file.fileno())
            return [await orders.next() for _ in range(5)]

    import uvloop

    assert uvloop.run(hear()) == [b"one\n", b"two\n", b"three", b"", b""]


def test_an_order_is_heard_without_the_loops_turn():
    """A saturated loop has 10,000 before it: whoever waits looks by himself."""
    import uvloop

    ours, theirs = os.pipe()
    told = []

    async def hear():
        orders = Orders(ours)
        orders.look()  # nobody waits: nothing is read
        orders.when_told(told.append)
        orders.look()
        assert told == []
        os.write(theirs, b"half")
        orders.look()
        os.write(theirs, b" an order\nand")
        orders.look()
        assert told == [b"half an order\n"]
        os.write(theirs, b" more\n")
        assert await orders.next() == b"and more\n"

    uvloop.run(hear())
    os.close(ours)
    os.close(theirs)


# Real servers


def test_twenty_round_trips_of_a_slow_server(client, fake):
    """0.1 s a message, and a plan of 0.3 s: the client alone finds that 2 s are needed."""

    def reply(connection, data, number):
        time.sleep(0.1)
        connection.sendall(data)

    events = client(**{**QUICK, "ceiling_s": 20.0}, port=fake(reply))
    warmed, seen = events[1], result(events)
    assert warmed["messages"] >= 3 * 4
    assert warmed["round_trip_ns"] >= 0.1 * S
    assert seen["slice_s"] == pytest.approx(20 * warmed["round_trip_ns"] / S)
    assert seen["messages"] % 4 == 0
    assert seen["messages"] >= 19 * 4


def test_the_ceiling_ends_the_slice_of_a_slower_one(client, fake):
    """It says so by being shorter than twenty round trips."""

    def reply(connection, data, number):
        time.sleep(0.1)
        connection.sendall(data)

    events = client(**{**QUICK, "ceiling_s": 1.0}, port=fake(reply))
    assert result(events)["slice_s"] == 1.0 < 20 * events[1]["round_trip_ns"] / S


@pytest.mark.once
@pytest.mark.alone  # a round that takes very long is cut off by the clock
@pytest.mark.parametrize("depth", [1, 3])
def test_lock_step_is_counted_in_whole_rounds(client, fake, depth):
    """Everybody is answered when everybody has asked: messages are a multiple of the clients."""
    together = threading.Barrier(8)

    def reply(connection, data, number):
        if number:
            try:
                together.wait(10)
            except threading.BrokenBarrierError:
                raise OSError from None
        connection.sendall(data)

    plan = {**QUICK, "clients": 8, "message_bytes": 64, "depth": depth}
    seen = result(client(**plan, port=fake(reply)))
    assert seen["messages"] > 0
    assert seen["messages"] % (8 * depth) == 0
    assert seen["latency_sum_ns"] > 0


def test_a_server_that_never_answers_again_ends_by_the_clock(client, fake):
    """And its slice is one stall from beginning to end."""
    seen = result(client(**QUICK, port=fake(lambda c, data, n: None if n else c.sendall(data))))
    assert (seen["messages"], seen["lost"], seen["clients_answered"]) == (0, 4, 0)
    assert seen["duration_ns"] >= 0.4 * S
    assert seen["longest_stall_ns"] >= 0.39 * S
    assert len(seen["stalls"]) == 1
    assert seen["latency_sum_ns"] == 0


@pytest.mark.once
@pytest.mark.alone
@pytest.mark.parametrize("kind", ["closed", "open"])
def test_known_stalls_come_back(client, fake, kind):
    """Every fiftieth message takes 0.15 s: so many stalls, so long."""
    slept = []

    def reply(connection, data, number):
        if number % 50 == 49:
            began_ns = time.perf_counter_ns()
            time.sleep(0.15)
            slept.append((began_ns, time.perf_counter_ns()))
        else:
            time.sleep(0.002)
        connection.sendall(data)

    plan = {"clients": 1, "warmup_s": 0.1, "duration_s": 2.0, "ceiling_s": 2.0}
    if kind == "open":
        plan |= {"kind": "open", "rate": 100, "arrivals": "constant"}
    events = client(**plan, port=fake(reply))
    seen, ended = result(events), events[-2]
    within = [
        (began, end)
        for began, end in slept
        if began > ended["start_ns"] + 5 * MS and end < ended["end_ns"] - 5 * MS
    ]
    long = [length for _, length in seen["stalls"] if length >= 0.14 * S]
    assert within
    assert len(within) <= len(long) <= len(within) + 2
    assert seen["longest_stall_ns"] == max(long)
    assert seen["longest_stall_ns"] >= 0.145 * S


@pytest.mark.once
@pytest.mark.alone
def test_a_gap_between_sends_is_no_stall(client, fake):
    """An open loop of five messages a second: nobody waits in between."""
    plan = {"kind": "open", "clients": 1, "rate": 5, "arrivals": "constant", "warmup_s": 0.1}
    seen = result(client(**plan, duration_s=2.0, port=fake(lambda c, data, n: c.sendall(data))))
    assert seen["intended"] >= 9
    assert [length for _, length in seen["stalls"] if length >= 0.19 * S] == []
