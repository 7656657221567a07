"""Guards the round trips of several callers: who is at work at once, who answers, who is left."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest
import trips
from callers import asyncio_, threads_

from c10k import launch, paths

pytestmark = pytest.mark.once

PROGRAM = paths.SUITE / "benchmarks" / "micro" / "trips.py"


def run(*words):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("callers", [1, 5])
@pytest.mark.parametrize("case", trips.CASES, ids="-".join)
def test_every_caller_makes_its_trips(case, callers):
    """Each trip asserts its own answer; the round that warms up is not among the rounds."""
    done = run(*case, "--callers", callers, "--rounds", 2, "--each", 3)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if "not_here" in found:
        pytest.skip(found["not_here"])
    assert found["operations"] == callers * 3
    assert len(found["seconds"]) == 2
    assert all(took > 0 for took in found["seconds"])


def test_threads_are_at_work_at_once():
    """A trip that returns only when four callers are in it returns."""
    four = threading.Barrier(4, timeout=20)

    def trip(number):
        four.wait()
        return number

    assert len(threads_.timed([trip] * 4, each=3, rounds=2)) == 2


def test_greenlets_are_at_work_at_once():
    """The same for greenlets."""
    event = pytest.importorskip("gevent.event")
    from callers import gevent_

    inside, all_in = [], event.Event()

    def trip(number):
        inside.append(number)
        if len(inside) == 4:
            all_in.set()
        assert all_in.wait(20)
        return number

    assert len(gevent_.timed([trip] * 4, each=3, rounds=2)) == 2
    assert len(inside) == 24


def test_tasks_are_at_work_at_once():
    """The same for tasks."""

    async def main():
        four = asyncio.Barrier(4)

        async def trip(number):
            async with asyncio.timeout(20):
                await four.wait()
            return number

        return await asyncio_.timed([trip] * 4, each=3, rounds=2)

    assert len(asyncio.run(main())) == 2


def test_a_round_is_as_long_as_its_slowest_caller():
    """From when all callers begin to when the last has ended; rounds do not overlap."""

    def slow(number):
        time.sleep(0.01)
        return number

    began = time.perf_counter()
    seconds = threads_.timed([slow, lambda number: number], each=3, rounds=2)
    assert all(took > 0.027 for took in seconds)  # clocks may be a ms coarse
    assert sum(seconds) < time.perf_counter() - began


def test_a_wrong_answer_is_not_timed():
    """The caller that got it ends the run, whoever else waits."""
    with pytest.raises(AssertionError):
        threads_.timed([lambda number: number + 1], each=1, rounds=1)


def test_the_server_is_in_a_session_of_its_own_and_is_gone_afterwards():
    """Also when a caller fails."""
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(ZeroDivisionError), trips.echo("threads"):
        (server,) = {child.pid for child in psutil.Process().children()} - before
        assert os.getsid(server) == server
        raise ZeroDivisionError
    assert not psutil.pid_exists(server)


def test_a_device_that_does_not_start_is_said():
    """Its end is noticed at once: nobody waits for an address that never comes."""
    with pytest.raises(launch.NotServing, match="did not start"), trips.device("no such mode"):
        pass


def test_no_callers_are_refused_in_one_line():
    """argparse says which options, and what to give."""
    done = run("asyncio", "tcp", "--callers", 0)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "give 1 or more" in done.stderr.splitlines()[-1]
