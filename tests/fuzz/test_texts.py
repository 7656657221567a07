"""Drives what reads people's text: counts, workloads, servers' files, the client's plan."""

import contextlib
import json
from pathlib import Path

import msgspec
import nonsense
import pytest
from hypothesis import strategies as st
from nonsense import TEXT, edited, fuzzed, hurt, one_line
from plan import Plan, PlanError
from plan import read as read_plan

from c10k import launch, paths
from c10k.declare import catalog, choosing, units, workload
from c10k.histograms import latencies
from c10k.launch import requirements
from c10k.text import plain

pytestmark = pytest.mark.once

WORKLOADS = [path.read_text() for path in workload.find(paths.WORKLOADS).values()]
SERVERS = [
    path.read_text() for path in (*paths.SERVERS.glob("*.py"), *paths.SERVERS.glob("*.toml"))
]
KNOWN = catalog.find(paths.SERVERS)
PLAN = msgspec.to_builtins(Plan(port=7000, sources=("127.0.0.2",)))
NUMBERISH = st.text("0123456789_.kKmMsh% \n-+e\u0661x", max_size=24)


@fuzzed("counts, shares and times", NUMBERISH | TEXT, quick=1000, long=560_000, batched=True)
def test_numbers(text):
    """Text that is not a number is an error; a number is finite, and whole where it should be."""
    for parse in (units.number, units.share, units.seconds):
        try:
            assert 0 <= parse(text) < 1e20
        except ValueError as error:
            one_line(error)


@fuzzed("client plans", hurt([PLAN]) | st.binary(max_size=40), quick=500, long=60_000)
def test_plans(content):
    """A plan is in bounds or refused."""
    try:
        assert 1 <= read_plan(content).clients <= 10_000_000
    except PlanError as error:
        one_line(error)


@fuzzed(
    "client plans, one value each",
    st.tuples(st.sampled_from(Plan.__struct_fields__), nonsense.VALUES),
    quick=500,
    long=100_000,
    batched=True,
)
def test_a_value_of_a_plan(entry):
    """Any value in place of any of a plan's is read or refused."""
    content = nonsense.as_json({**PLAN, entry[0]: entry[1]})
    try:
        read_plan(content)
    except PlanError as error:
        one_line(error)


@fuzzed("workload files", edited(WORKLOADS) | st.text(), quick=300, long=60_000)
def test_workloads(text):
    """A workload is small enough to plan or refused, with its file named."""
    try:
        found = workload.parse(text, "folder/w.toml")
        assert found.blocks * len(found.loads) <= workload.MOST_CELLS
    except workload.WorkloadError as error:
        assert str(error).startswith("folder/w.toml: ")
        one_line(error)


@fuzzed("servers' files", edited(SERVERS) | st.text(), quick=300, long=60_000)
def test_servers(text):
    """A file is a server whose command can be made, or refused with its path."""
    for name in ("made_up.py", "made_up.toml"):
        Path(name).write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            server = catalog.read(Path(name))
        except catalog.CatalogError as error:
            assert name in str(error)
            one_line(error)
            continue
        requirements.why_not_runnable(server)
        if not server.build:
            assert launch.command(server)


@fuzzed(
    "words for servers",
    st.lists(
        TEXT
        | st.sampled_from(("@", "=", ",", "@canonical", "trio_streams", "==", ".py", "python3.11"))
        | st.sampled_from(("true", "cat '", "x=true {0} {", "@trio==0.1", "@trio @ http://x")),
        max_size=4,
    ).map("".join),
    quick=300,
    long=60_000,
)
def test_words_for_servers(word):
    """A word stands for servers or is refused."""
    if "\0" in word:
        return
    try:
        for server in choosing.choose([word], KNOWN):
            assert server.name
    except catalog.CatalogError as error:
        one_line(error)


@fuzzed("addresses", st.text("0123456789.:[]%", max_size=12), quick=100, long=20_000, batched=True)
def test_addresses(bind):
    """What is not an address of this machine is refused."""
    with contextlib.suppress(OSError, ValueError):
        launch.listen(bind).close()


HISTOGRAM = latencies.empty()
for _value in (1_000, 50_000_000, 3_000_000_000):
    HISTOGRAM.record_value(_value)
ENCODED = HISTOGRAM.encode()


@fuzzed(
    "histograms",
    nonsense.torn(st.just(ENCODED)) | st.binary(max_size=90),
    quick=200,
    long=30_000,
)
def test_histograms(content):
    """A histogram is of this suite's bounds or refused."""
    try:
        found = latencies.decoded(content.decode("latin-1"))
        assert found.highest_trackable_value == latencies.BOUNDS[1]
    except latencies.HistogramError as error:
        one_line(error)


@fuzzed("text to print", TEXT | st.text(), quick=500, long=100_000, batched=True)
def test_plain(text):
    """What is printed is one printable line of the same length, and survives JSON and UTF-8."""
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert json.loads(json.dumps(shown)).encode().decode() == shown
