"""Guards which cores are the server's and which the clients', with and without hyper-threads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k import machine
from c10k.machine import read

PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7))  # hyper-threads that are numbered side by side
HALVES = ((0, 4), (1, 5), (2, 6), (3, 7))  # as most kernels number them


@pytest.mark.parametrize(
    ("allowed", "siblings", "processes", "server", "clients"),
    [
        ([0, 1], (), 1, (0,), (1,)),
        ([5, 3, 4], (), 1, (3,), (4, 5)),
        ([0, 1, 2, 3], (), 1, (0,), (1, 2, 3)),
        ([0, 1, 2, 3], (), 3, (0, 1), (2, 3)),  # at most half of them
        (range(8), (), 1, (0,), (1, 2, 3, 4, 5, 6, 7)),
        (range(8), (), 3, (0, 1, 2), (3, 4, 5, 6, 7)),
        # both sides get whole real cores: of each of them one hyper-thread
        (range(8), PAIRS, 2, (0, 2), (4, 6)),
        (range(8), PAIRS, 1, (0,), (2, 4, 6)),
        (range(8), HALVES, 2, (0, 1), (2, 3)),
        (range(4), PAIRS, 1, (0,), (2,)),
        (range(4), PAIRS, 2, (0,), (2,)),
        # only some of the hyper-threads may be used
        ([1, 2, 3, 6], PAIRS, 1, (1,), (2, 6)),
        ([1, 3, 5, 7], PAIRS, 2, (1, 3), (5, 7)),
        ([0, 1, 2], PAIRS, 1, (0,), (2,)),
        # one real core: there is nothing but its other hyper-thread
        ([0, 1], PAIRS, 1, (0,), (1,)),
        ([0, 1, 2, 3], ((0, 1, 2, 3),), 2, (0,), (3,)),
    ],
)
def test_server_and_clients_have_whole_real_cores(allowed, siblings, processes, server, clients):
    """No core has both, no real core has two of one side, and each client core has a worker."""
    pinned = machine.pinning(allowed, siblings, processes=processes)
    assert (pinned.server, pinned.clients, pinned.shared) == (server, clients, ())
    assert pinned.workers == len(clients)


@pytest.mark.parametrize(
    ("allowed", "siblings", "wanted", "server", "clients", "shared"),
    [
        ([0, 1], (), 1, (0,), (1,), ()),
        ([0, 1], (), 2, (0, 1), (1,), (1,)),
        ([0, 1], (), "all", (0, 1), (1,), (1,)),
        ([4], (), "all", (4,), (4,), (4,)),
        (range(4), (), 2, (0, 1), (2, 3), ()),
        (range(4), (), 3, (0, 1, 2), (3,), ()),
        (range(4), (), 4, (0, 1, 2, 3), (3,), (3,)),
        (range(8), PAIRS, 2, (0, 2), (4, 6), ()),
        (range(8), PAIRS, 3, (0, 2, 4), (6,), ()),
        # every real core has a server: the last hyper-thread is left, then nothing is
        (range(8), PAIRS, 4, (0, 2, 4, 6), (7,), ()),
        (range(8), HALVES, 5, (0, 1, 2, 3, 4), (7,), ()),
        (range(8), PAIRS, "all", tuple(range(8)), (7,), (7,)),
    ],
)
def test_a_server_gets_the_cores_that_are_asked_for(
    allowed, siblings, wanted, server, clients, shared
):
    """One core for each is what applies only where nothing else is said."""
    for processes in (1, 3):
        pinned = machine.pinning(allowed, siblings, processes=processes, server_cores=wanted)
        assert (pinned.server, pinned.clients, pinned.shared) == (server, clients, shared)
        assert pinned.workers == len(clients)


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"allowed": [0, 1]}, "server on core 0; clients on core 1"),
        ({"allowed": range(64)}, "server on core 0; clients on cores 1-63"),
        ({"allowed": [0, 1], "server_cores": 2}, "server on cores 0, 1; clients on core 1"),
        ({"allowed": [0]}, "server and clients on core 0"),
        (
            {"allowed": range(8), "siblings": PAIRS, "processes": 2},
            "server on cores 0, 2; clients on cores 4, 6; hyper-threads 1, 3, 5, 7 left idle",
        ),
        (
            {"allowed": range(8), "siblings": PAIRS, "server_cores": 4},
            "server on cores 0, 2, 4, 6; clients on core 7, a hyper-thread of the server's core 6",
        ),
        (
            {"allowed": [0, 1], "siblings": PAIRS},
            "server on core 0; clients on core 1, a hyper-thread of the server's core 0",
        ),
    ],
)
def test_the_note_says_who_is_where(options, note):
    """Hyper-threads are not called cores of their own."""
    assert machine.pinning(**options).note == note


def test_a_system_that_cannot_pin_says_so():
    """Nothing is pinned, and there are as many workers as there are other cores."""
    elsewhere = machine.pinning(None, logical=8)
    assert (elsewhere.server, elsewhere.clients, elsewhere.workers) == (None, None, 7)
    assert "cannot pin" in elsewhere.note
    assert machine.pinning(None, logical=None).workers == 1


@given(
    allowed=st.sets(st.integers(0, 15), min_size=1),
    width=st.sampled_from([1, 2, 4]),
    processes=st.integers(1, 20),
    wanted=st.integers(0, 16) | st.just("all"),
)
def test_every_mask_gives_both_sides_a_core(allowed, width, processes, wanted):
    """Nobody gets a core that is not allowed; sharing one is always said."""
    siblings = [range(first, first + width) for first in range(0, 16, width)]
    pinned = machine.pinning(sorted(allowed), siblings, 16, processes, wanted)
    server, clients = set(pinned.server), set(pinned.clients)
    assert server
    assert clients
    assert server | clients <= allowed
    assert server & clients == set(pinned.shared)
    assert len(pinned.shared) <= 1
    if isinstance(wanted, int) and 0 < wanted <= len(allowed):
        assert len(server) == wanted
    if wanted == "all":
        assert server == allowed


def test_more_cores_than_there_are_is_one_line():
    """What was asked for, who has how many, and what may be asked for instead."""
    said = machine.too_few_cores("this machine", 99, 2)
    assert said == "server cores, 99: this machine has 2 cores; give at most 2"
    assert machine.too_few_cores("this machine", 1, 0).endswith("cannot pin processes to cores")
    for wanted in (0, 1, 2, "all"):
        assert machine.too_few_cores("this machine", wanted, 2) == ""


def test_siblings_are_read_as_the_kernel_writes_them(monkeypatch):
    """Lists and ranges; a core whose siblings are not reported is in no group."""
    lists = {0: "0,4", 4: "0,4", 1: "1-3", 2: "1-3", 3: "1-3"}
    monkeypatch.setattr(
        read, "text", lambda path: lists.get(int(path.split("/cpu")[2].split("/")[0]))
    )
    assert read.sibling_groups([0, 1, 2, 4, 9]) == (frozenset({0, 4}), frozenset({1, 2, 3}))
