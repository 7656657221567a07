"""Guards the plan: complete random blocks, the same for the same seed."""

from collections import Counter

import made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from c10k import plan


def make(servers, loads, blocks, seed):
    chosen = made.workload(servers, map(made.load, loads), blocks)
    return plan.make(chosen, [made.server(name) for name in servers], seed)


names = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True)
counts = st.lists(st.integers(1, 10**6), min_size=1, max_size=4, unique=True)


@given(names, counts, st.integers(1, 6), st.integers())
def test_every_block_has_every_server_under_every_load_once(servers, loads, blocks, seed):
    """Random complete blocks: nothing is left out, nothing is doubled."""
    planned = make(servers, loads, blocks, seed)
    for block in range(blocks):
        cells = Counter((t.server, t.load.clients) for t in planned.trials if t.block == block)
        assert cells == Counter((name, clients) for name in servers for clients in loads)
    assert [t.block for t in planned.trials] == sorted(t.block for t in planned.trials)
    assert len({t.key for t in planned.trials}) == len(planned.trials)


@given(names, counts, st.integers(1, 3), st.integers())
def test_the_same_seed_gives_the_same_order(servers, loads, blocks, seed):
    """A recorded seed is enough to have the plan again."""
    assert make(servers, loads, blocks, seed) == make(servers, loads, blocks, seed)


def test_blocks_differ_in_order():
    """The order is drawn again for each block, so that a drift affects all servers alike."""
    planned = make("abcdefgh", [1], 4, 7)
    orders = {tuple(t.server for t in planned.trials if t.block == block) for block in range(4)}
    assert len(orders) == 4


def test_the_plan_is_the_same_on_every_machine():
    """A golden order: no platform, version or hash seed changes what a seed means."""
    assert [t.server for t in make("abcd", [1], 2, 1).trials] == list("dabcacdb")


def test_expected_duration_adds_up():
    """The estimate counts the slices, the warm-up and the connecting."""
    few, many = make("a", [10], 1, 0), make("a", [10_000], 1, 0)
    least, most = (plan.expected_s(each.trials, each.servers) for each in (few, many))
    assert 2.5 < least < most


def test_expected_duration_counts_the_handshakes_of_servers_over_tls():
    """A session over TLS takes longer than is said where they are forgotten: 13 s for 10,000."""
    planned = make("a", [10_000], 1, 0)
    over_tls = [replace(server, tls=True) for server in planned.servers]
    plain, more = (plan.expected_s(planned.trials, each) for each in (planned.servers, over_tls))
    assert more - plain == pytest.approx(13 * len(planned.trials))


def test_copies_are_entered_under_names_that_say_so():
    """One process: the servers as they are; several: each way of sharing is a contender."""
    servers = [made.server("a"), made.server("b")]
    assert plan.copies(servers, 1, ("reuseport",)) == servers
    names = [server.name for server in plan.copies(servers, 6, ("one-socket", "reuseport"))]
    assert names == ["a-x6", "a-x6-reuseport", "b-x6", "b-x6-reuseport"]
    (one,) = plan.copies(servers[:1], 2, ("reuseport",))
    assert (one.path, one.processes, one.sharing) == (servers[0].path, 2, "reuseport")


def test_the_reference_is_found_among_copies():
    """A workload names the reference once, however many processes it is run with."""
    chosen = made.workload(["a", "b"], [made.load(1)], 1, reference="b")
    entered = plan.copies([made.server("a"), made.server("b")], 2, ("one-socket",))
    assert plan.make(chosen, entered, 1).workload.reference == "b-x2"
