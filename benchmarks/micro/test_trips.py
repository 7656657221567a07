"""A round trip while several callers are at work, by PyTango and by plain TCP: `tox -e micro`."""

import pytest
from inside import INSIDE, ROUNDS, said, timed
from pytest_benchmark.fixture import BenchmarkFixture
from trips import CALLERS, CASES, Case


@pytest.mark.parametrize("callers", CALLERS)
@pytest.mark.parametrize("case", CASES, ids="-".join)
@pytest.mark.benchmark(timer=INSIDE)
def test_trip(benchmark: BenchmarkFixture, case: Case, callers: int) -> None:
    found = said("trips.py", *case, "--callers", callers, "--rounds", ROUNDS)
    if "not_here" in found:
        pytest.skip(f"cannot be imported here: {found['not_here']}")
    benchmark.group, benchmark.name = f"a round trip, {callers} at once", case.title
    benchmark.extra_info |= {"trip": case.title, "callers": callers}
    timed(benchmark, found["seconds"], found["operations"])
