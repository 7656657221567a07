"""Every primitive of every framework, by pytest-benchmark: `tox -e micro`."""

import time
from typing import Any

import pytest
from inside import INSIDE, ROUNDS, said, timed
from primitives import FRAMEWORKS, GENERATORS, PRIMITIVES, Primitive
from pytest_benchmark.fixture import BenchmarkFixture


def one(framework: str, what: str, *options: object) -> dict[str, Any]:
    """The output of one.py for a framework's primitive, or a skip with its reason."""
    found = said("one.py", framework, what, *options)
    if "not_here" in found:
        pytest.skip(f"{framework} cannot be imported here: {found['not_here']}")
    if "no_such_thing" in found:
        pytest.skip(f"{framework} has no such thing: {found['no_such_thing']}")
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda primitive: primitive.name)
@pytest.mark.benchmark(timer=INSIDE)
def test_primitive(benchmark: BenchmarkFixture, primitive: Primitive, framework: str) -> None:
    found = one(framework, primitive.name, "--rounds", ROUNDS)
    benchmark.group, benchmark.name = primitive.title, framework
    benchmark.extra_info |= {"primitive": primitive.name, "framework": framework}
    if primitive.name == "sleepers":
        benchmark.extra_info |= one(framework, "memory")
    timed(benchmark, found["seconds"], found["operations"])


@pytest.mark.parametrize("primitive", GENERATORS, ids=lambda primitive: primitive.name)
@pytest.mark.benchmark(timer=INSIDE)
def test_generators(benchmark: BenchmarkFixture, primitive: Primitive) -> None:
    """What await is built on: the same for every framework, so it has its own table."""
    found = one("generators", primitive.name, "--rounds", ROUNDS)
    benchmark.group, benchmark.name = primitive.title, "yield from"
    benchmark.extra_info |= {"primitive": primitive.name, "framework": ""}
    timed(benchmark, found["seconds"], found["operations"])


@pytest.mark.benchmark(timer=INSIDE)
def test_a_known_cost_is_what_is_reported(benchmark: BenchmarkFixture) -> None:
    """An operation of 20 µs is reported as 20 µs, whatever happens outside of it."""
    seconds = []
    for _ in range(ROUNDS):
        time.sleep(0.01)  # like a loop that starts
        start = time.perf_counter()
        while time.perf_counter() < start + 0.02:
            pass
        seconds.append(time.perf_counter() - start)
    benchmark.group, benchmark.name = "the method: a known cost of 20 µs", "burn"
    timed(benchmark, seconds, 1000)
    if benchmark.stats:  # not with --benchmark-disable
        assert benchmark.stats.stats.median == pytest.approx(20e-6, rel=0.05)
