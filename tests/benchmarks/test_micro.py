"""Guards the micro-benchmarks: every primitive of every framework does what it says, with
its own assertions, on every interpreter. What they measure is the business of `tox -e micro`."""

import json
import subprocess
import sys
import time

import pytest
from primitives import FRAMEWORKS, GENERATORS, PRIMITIVES, Timed

from c10k import paths

MICRO = paths.SUITE / "benchmarks" / "micro"

# What a framework does not have; the coverage table of docs/micro.md says the same.
ABSENT = {
    "threading": {"cancel", "timeout"},
    "gevent": {"process_call"},
    "twisted": {"event_wake", "process_call", "pipe_trip", "signal_wake"},
    "asyncio": set(),
    "uvloop": set(),
    "curio": {"signal_wake"} | ({"process_call"} if sys.version_info >= (3, 12) else set()),
    "trio": {"process_call"},
}


def one(*arguments):
    done = subprocess.run(
        [sys.executable, str(MICRO / "one.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda primitive: primitive.name)
def test_a_primitive_does_what_it_says(framework, primitive):
    """A few operations, asserted by the function itself, or a skip: there is no such thing."""
    began = time.perf_counter()
    found = one(framework, primitive.name, "--rounds", 1, "--operations", 20)
    if "not_here" in found:
        pytest.skip(found["not_here"])
    if primitive.name in ABSENT[framework]:
        assert found == {"no_such_thing": primitive.title}
    else:
        assert found["operations"] == 20
        (took,) = found["seconds"]
        slept_s = 0.009 if primitive.name == "sleepers" else 0  # clocks may be a ms coarse
        assert slept_s < took < time.perf_counter() - began


@pytest.mark.parametrize("primitive", GENERATORS, ids=lambda primitive: primitive.name)
def test_generators_delegate(primitive):
    """The language's own delegation."""
    began = time.perf_counter()
    (took,) = one("generators", primitive.name, "--rounds", 1, "--operations", 20)["seconds"]
    assert 0 < took < time.perf_counter() - began


def test_the_stretch_is_what_its_block_took():
    """Nothing before it, and nothing after it."""
    timed = Timed()
    time.sleep(0.02)
    began = time.perf_counter()
    with timed:
        time.sleep(0.01)
    ended = time.perf_counter()
    time.sleep(0.02)
    assert 0.01 <= timed.seconds <= ended - began


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_the_functions_of_asyncio_run_on_the_loop_that_is_asked_for(name):
    """uvloop has asyncio's own functions, and another loop below them."""
    program = f"""
import asyncio
from frameworks import {name}_ as framework
async def main():
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
framework.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=MICRO, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_memory_is_read_while_the_units_wait(framework):
    """Two thousand units hold something, and less than a megabyte each."""
    found = one(framework, "memory", "--operations", 2000)
    if "not_here" in found:
        pytest.skip(found["not_here"])
    assert 0 < found["bytes_per_unit"] < 1 << 20
