"""Guards the arithmetic of several machines: shares, differences, and who was the limit."""

import made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from c10k import machine
from c10k.judge import judge
from c10k.model import Host, Latency, Limiter, Noise
from c10k.plan import gates
from c10k.run.cluster import facts, share

ROOMS = st.lists(
    st.tuples(st.floats(0.5, 100), st.none() | st.integers(0, 60_000)), min_size=1, max_size=8
)


@given(ROOMS, st.integers(1, 200_000))
def test_clients_are_split_whole_and_within_every_room(rooms, wanted):
    """Nobody is left out, no host gets more than it has room for, or they are refused."""
    rooms = [share.HostCapacity(f"c{n}", weight, room) for n, (weight, room) in enumerate(rooms)]
    if share.refusal(wanted, rooms):
        with pytest.raises(ValueError, match="have no host"):
            share.split(wanted, rooms)
        return
    shares = share.split(wanted, rooms)
    assert sum(shares) == wanted
    assert all(
        part >= 0 and (room.most is None or part <= room.most)
        for part, room in zip(shares, rooms, strict=True)
    )


def test_a_label_of_twice_the_amount_gets_twice_the_clients():
    """The amount of the label says what a host is worth, up to the room that it has."""
    rooms = [
        share.HostCapacity("c1", 1, None),
        share.HostCapacity("c2", 2, None),
        share.HostCapacity("c3", 1, 10),
    ]
    assert share.split(400, rooms) == [130, 260, 10]


def test_what_does_not_fit_is_refused_with_the_arithmetic():
    """Each host's room is there with what it comes from, and their sum."""
    limits = machine.Limits(descriptors_hard=1000, port_low=32768, port_high=60999)
    rooms = [share.capacity(name, 1, limits, n, 2**40, 10**6) for n, name in ((1, "c1"), (4, "c2"))]
    said = share.refusal(10**6, rooms)
    for part in (
        "1,000,000 clients do not fit, 141,160 would",
        "c1 has room for 28,232 (28,232 local ports (net.ipv4.ip_local_port_range) "
        "× 1 source address)",
        "c2 has room for 112,928",
        "× 4 source addresses",
        "add client hosts",
    ):
        assert part in said
    assert share.refusal(141_160, rooms) == ""


def test_memory_bounds_a_host_too():
    """A host with little memory has less room, and that is what is said."""
    room = share.capacity("c1", 1, machine.Limits(), 1, 160 * 2**20, 10**6)
    assert room.most == 160 * 2**20 // share.CLIENT_BYTES
    assert "160 MiB may be taken, at 12 KiB a client" in room.arithmetic


def test_hosts_that_differ_are_named_with_both_versions():
    """Who has what, and what is here; frameworks matter only where servers run."""
    mine = facts.HostFacts(
        (), machine.Limits(), 0, (), {"Python": "3.11.9", "uvloop": "1"}, {"trio": "1"}, {}
    )
    theirs = replace(mine, everywhere={"Python": "3.12.1", "uvloop": ""}, serving={"trio": "2"})
    assert facts.differences(mine, {"c1": (theirs, ["client"])}) == [
        "c1 has Python 3.12.1, this host Python 3.11.9",
        "c1 has no uvloop, this host uvloop 1",
    ]
    said = facts.differences(mine, {"srv": (theirs, ["server"])})
    assert said[-1] == "srv has trio 2, this host trio 1"
    assert facts.differences(mine, {"c1": (mine, ["server", "client"])}) == []


def test_a_host_describes_itself_alike_every_time():
    """What hosts are compared by is the same on one machine; nothing of it is missing."""
    first, again = facts.read(), facts.read()
    assert (first.everywhere, first.serving) == (again.everywhere, again.serving)
    assert all(first.everywhere[f"files of {name}"] for name in ("engine", "clients", "servers"))
    folder, pattern = facts.FILES["engine"]
    assert folder / "model" / "declared.py" in folder.glob(pattern)  # not of this package alone


@pytest.mark.parametrize(
    ("cores", "siblings", "server", "clients"),
    [
        # the first real core is left to the system and Dask, with all of its hyper-threads
        (range(4), (), ((1,), (1, 2), (1, 2, 3)), (1, 2, 3)),
        (range(8), ((0, 4), (1, 5), (2, 6), (3, 7)), ((1,), (1, 2), (1, 2, 3, 5, 6, 7)), (1, 2, 3)),
        (range(4), ((0, 1), (2, 3)), ((2,), (2, 3), (2, 3)), (2,)),
        ([0, 1], ((0, 1),), ((1,), (1,), (1,)), (1,)),
        ([3], (), ((3,), (3,), (3,)), (3,)),
        ([], (), ((), (), ()), ()),
    ],
)
def test_a_hosts_cores_are_whole_ones_beyond_the_first(cores, siblings, server, clients):
    """One for each process, as many as are asked for, or all; each client core has a worker."""
    known = a_host(cores, siblings)
    found = tuple(share.server_cores(known, 1, wanted) for wanted in (0, 2, "all"))
    assert found == server
    assert share.client_cores(known) == clients
    assert share.server_cores(known, 2, 0) == server[1]


def test_the_only_host_splits_its_cores_as_one_machine_does():
    """Two sides of one host have no core in common while there is another."""
    both = share.cores_of_both(a_host(range(4)), 1, 0)
    assert (both.server, both.clients, both.shared) == ((1,), (2, 3), ())
    both = share.cores_of_both(a_host(range(4)), 1, "all")
    assert (both.server, both.clients, both.shared) == ((1, 2, 3), (3,), (3,))
    assert share.cores_of_both(a_host([]), 1, 0).server is None


def a_host(cores, siblings=()):
    groups = tuple(map(frozenset, siblings))
    return facts.HostFacts(tuple(cores), machine.Limits(), 0, (), {}, {}, {}, groups)


def spread_out(trial, **fields):
    """A trial of three hosts, the second client host busier than the first."""
    return made.ok(
        trial,
        client_cpu_share=0.95,
        start_spread_s=0.002,
        hosts=(
            Host("srv", "server"),
            Host("c1", "client", cpu_share=0.4),
            Host("c2", "client", cpu_share=0.95),
        ),
        **fields,
    )


def test_the_bound_client_host_is_named_in_the_row():
    """Which of several client hosts was the limit stands in the limiter, and who took part."""
    row = judge(made.session(measure=spread_out)).rows[0]
    assert row.limiters == (Limiter("client CPU", "c2"),)
    assert row.bound
    assert row.hosts == "srv ← c1, c2"
    assert row.start_spread_s.median == 0.002


def test_gates_look_at_every_host_and_name_it():
    """Others' work on any host rejects the trial; so does a host that was gone."""
    trial = made.session().plan.trials[0]
    noisy = (Host("srv", "server"), Host("c1", "client", noise=Noise(0.0, 0.3)))
    assert tuple(map(str, gates.gates(made.ok(trial, hosts=noisy)))) == (
        "others: other processes used 30.0% of a core on c1",
    )
    assert tuple(map(str, gates.gates(made.ok(trial, vanished="c2")))) == (
        "host: c2 was gone before the trial's end",
    )


def test_a_late_schedule_on_one_host_bounds_the_open_loop():
    """One host that sends late is named even when the others hide it in the whole."""
    load = made.load(100, kind="open", rate=100.0, arrivals="poisson")
    trial = replace(made.session().plan.trials[0], load=load)

    def latency(p99_us):
        return Latency(1000, 1.0, 1.0, p99_us, None, p99_us)

    late = (Host("c1", "client", lag_p99_us=1.0), Host("c2", "client", lag_p99_us=50.0))
    measured = made.ok(trial, latency=latency(100.0), schedule_lag=latency(1.0), hosts=late)
    assert gates.bound_by(measured) == Limiter("client lag", "c2")
