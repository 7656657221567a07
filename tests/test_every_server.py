"""Guards the contenders: each keeps the contract, and is the kind of file the rules ask for."""

import ast
import socket
import struct
import sys

import pytest

from c10k import catalog, check, launch, places

SERVERS = catalog.find(places.SERVERS)
CANONICAL = {
    "threads_sockets",
    "gevent_streamserver",
    "twisted_protocol",
    "asyncio_streams",
    "uvloop_streams",
    "curio_sockets",
    "trio_streams",
}

# Left as the tutorial has them (docs/decisions.md); a newer interpreter passes.
SPIN_WITHOUT_DESCRIPTORS = {"asyncio_streams", "asyncio_protocol"}
MOSTLY_WAITING = {"idle-long", "slow-loris", "overflow"}


@pytest.fixture(params=SERVERS, ids=lambda server: server.name)
def server(request):
    """Each server in turn; skipped, visibly, where it cannot run."""
    if reason := catalog.why_not(request.param):
        pytest.skip(reason)
    return request.param


@pytest.fixture(params=[each for each in SERVERS if not each.start], ids=lambda each: each.name)
def source(request):
    """A Python server's text, whether its framework is installed or not."""
    return places.file_of(request.param.path).read_text(encoding="utf-8")


def ask(client, data=b"?"):
    client.sendall(data)
    return client.recv(len(data))


def test_it_keeps_the_contract(server, tmp_path, short_kit):
    """The conformance kit, its longer cases shortened; `tox run -e kit` has it in full."""
    asked = [case.name for case in check.CASES + check.LONG if case.name not in MOSTLY_WAITING]
    found = check.check(server, asked, workdir=tmp_path)
    assert found.failures == ()
    unclean = {result.case for result in found.results if result.verdict == "unclean"}
    spins = server.name in SPIN_WITHOUT_DESCRIPTORS
    assert unclean <= ({"out-of-descriptors"} if spins else set())


def test_resets_make_no_noise_without_bound(server, tmp_path):
    """Two hundred clients that leave rudely do not fill the log."""
    with launch.serving(server, tmp_path / "log") as running:
        for i in range(200):
            client = running.connect()
            if i % 2:
                client.sendall(b"x" * 100_000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert ask(running.connect()) == b"?"
        assert running.log.read_text() == ""


def test_the_canonical_seven_are_there():
    """The promise of the first page: seven equivalent servers, and a floor below them."""
    tiers = {each.name: each.tier for each in SERVERS}
    assert {name for name, tier in tiers.items() if tier == "canonical"} == CANONICAL
    assert "floor" in tiers.values()


def test_it_is_short(source):
    """Under 40 lines, blank ones, the block of metadata and the docstring not counted."""
    body = source.partition('"""')[2].partition('"""')[2]
    assert len([line for line in body.splitlines() if line.strip()]) < 40


def test_its_docstring_says_what_the_unit_is_and_where_it_switches(source):
    """A reader learns from each server how it does concurrency."""
    said = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    assert "The unit of concurrency is" in said
    assert "switches" in said


def test_it_is_honest_about_its_name():
    """`<framework>_<api>`: no file can shadow the module that it imports."""
    for each in SERVERS:
        assert "_" in each.name
        assert each.name not in sys.stdlib_module_names
