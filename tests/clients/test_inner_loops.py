"""The inner loops in C: their library, and that they count as the client in Python does.

What clients send, hear and report is tested with both: see the fixture `client`.
"""

import asyncio
import ctypes
import functools
import re
import subprocess
import sys

import made
import native
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from latencies import HIGHEST_NS, bucket_of, coarse
from native_crowd import NativeCrowd
from plan import Plan

from c10k import machine, paths
from c10k.launch import NotServing, inner_loops
from c10k.run import events, worker_plans, workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux")
NS = st.integers(0, HIGHEST_NS)


@functools.cache
def library():
    loaded = ctypes.CDLL(inner_loops())
    for name in ("bucket_of", "coarse_of", "size_of_loops"):
        getattr(loaded, name).restype = ctypes.c_int64
    return loaded


@given(NS)
def test_a_latency_falls_into_the_same_bucket(ns):
    assert library().bucket_of(ctypes.c_int64(ns)) == bucket_of(np.array([ns]))[0]


@given(NS | st.integers(10, 41).map(lambda power: 1 << power))
def test_an_intervals_buckets_are_those_of_python(ns):
    """Up to the rounding of a logarithm, which may go either way beside a boundary."""
    found = library().coarse_of(ctypes.c_int64(ns))
    near = {int(np.flatnonzero(coarse(np.array([max(ns + by, 0)])))[0]) for by in (-1, 0, 1)}
    assert found in near


def test_both_sides_have_the_same_fields():
    """In the same order: a C struct and a list of names that nothing else compares."""
    source = paths.INNER_LOOPS.read_text()
    body = source[source.index("struct loops {") :].split("\n};")[0].split("\n", 1)[1]
    names = []
    for field in re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL).split(";"):
        if "(*" in field:
            names += re.findall(r"\(\*(\w+)\)", field)
        elif "struct list" in field:
            (name,) = re.findall(r"(\w+)$", field.strip())
            names += [f"{name}_{part}" for part in ("values", "count", "room")]
        elif field.strip():
            names += [each.split()[-1].strip("*") for each in field.split(",")]
    assert names == [name for name, *_ in native.Shared._fields_]
    assert library().size_of_loops() == ctypes.sizeof(native.Shared)
    assert native.CLIENT.itemsize == 64


@pytest.mark.parametrize(
    "library, said",
    [("/nowhere/loops.so", "cannot open shared object file"), (None, "undefined symbol")],
)
def test_a_library_that_is_none_is_one_line(tmp_path, client, library, said):
    if library is None:  # one without what is called
        library = tmp_path / "other.so"
        source = tmp_path / "other.c"
        source.write_text("int nothing;\n")
        subprocess.run(["cc", "-shared", "-o", library, source], check=True)
    errors = client(expected_code=2, port=1, library=str(library))
    assert len(errors.splitlines()) == 1
    assert errors.startswith("echo_client: the plan's library: ")
    assert said in errors


def planned(**load):
    load = made.load(10, **load)
    workload = made.workload(["alpha"], [load], 1)
    (plan,) = worker_plans.plans(("127.0.0.1", 7000), workload, load, [10], 5)
    return plan


def test_the_library_is_used_unless_asyncio_is_asked_for():
    assert workers.with_inner_loops(planned()).library == inner_loops()
    assert workers.with_inner_loops(planned(client="C")).library == inner_loops()
    assert workers.with_inner_loops(planned(client="asyncio")).library == ""


def test_without_a_compiler_asyncio_drives_the_clients(monkeypatch, tmp_path):
    """It is built nowhere, so there is no old one in the cache either."""
    monkeypatch.setattr(paths, "cache", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotServing, match="no compiler: cc is not on PATH"):
        inner_loops()
    assert workers.with_inner_loops(planned()).library == ""
    with pytest.raises(events.ClientFailed, match="no client in C: no compiler: cc is not on"):
        workers.with_inner_loops(planned(client="C"))


def test_a_cache_that_cannot_be_written_is_no_traceback(monkeypatch, tmp_path):
    """The environment of a session asks for the library, too."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(paths, "cache", lambda: tmp_path / "file")
    with pytest.raises(NotServing, match=r"it cannot be built in .*: not a directory"):
        inner_loops()
    assert workers.with_inner_loops(planned()).library == ""
    assert machine.environment()["client"]["loops"].startswith("asyncio: it cannot be built in ")


def test_who_waits_goes_on_before_the_next_turn(monkeypatch):
    """A turn takes 20 ms, which would be in the time to connect and in a storm's rate."""
    crowd = NativeCrowd(Plan(port=1, library=inner_loops()))
    happened = []

    async def wait():
        monkeypatch.setattr(crowd.library, "turn", lambda *_: happened.append("turn"))
        crowd.drive()
        await crowd.until(lambda: len(happened) == 3, 5)
        happened.append("told")
        crowd.rest()

    asyncio.run(wait())
    assert happened == ["turn"] * 3 + ["told"]


def test_what_does_not_compile_is_said_by_its_first_line(monkeypatch, tmp_path):
    source = tmp_path / "inner_loops.c"
    source.write_text("nonsense\n")
    monkeypatch.setattr(paths, "cache", lambda: tmp_path)
    monkeypatch.setattr(paths, "INNER_LOOPS", source)
    with pytest.raises(NotServing, match=r"it does not compile: .*inner_loops\.c"):
        inner_loops()


def test_each_says_what_it_is(client, serving, request):
    port = serving("asyncio_streams").address[1]
    events = client(port=port, clients=2, warmup_s=0.05, duration_s=0.1, ceiling_s=0.2)
    assert events[0]["loops"] == request.node.callspec.params["client"]
