"""Guards the figures of one trial that come of what was read of its server."""

import made
import pytest

from c10k.judge import figures
from c10k.model import Limiter, Memory, ServerUse

TRIAL = made.plan.make(made.workload(["a"], [made.load(100)]), [made.server("a")], 1).trials[0]


def measured(trial=TRIAL, **use):
    """A slice of 2 s with 1,000 messages and 100 clients."""
    return made.ok(trial, rate=500, server=ServerUse(**use))


def cpu_us(measurement):
    return figures.server_cpu_us_per_message(measurement)


def test_what_interrupts_do_counts_where_no_process_has_it():
    """Some kernels book interrupts apart: the cores' own books have them."""
    apart = measured(cpu_s=1.0, busy_cores=0.95, interrupts_apart=True, cores=1)
    assert cpu_us(apart) == pytest.approx(1900)
    assert figures.limiter(apart) == Limiter("server CPU")
    not_known = measured(cpu_s=1.0, busy_cores=0.95)
    assert cpu_us(not_known) == pytest.approx(1900)


def test_the_processes_clocks_count_where_they_have_it_all():
    """They are exact; what else was on the core is not the server's."""
    inside = measured(cpu_s=1.0, busy_cores=0.95, interrupts_apart=False, cores=1)
    assert cpu_us(inside) == pytest.approx(1000)
    assert figures.limiter(inside) == Limiter("nothing found")


def test_the_cores_books_are_coarse_and_take_nothing_away():
    """A process cannot have used less than its clock says; no clock, no figure."""
    assert cpu_us(measured(cpu_s=1.0, busy_cores=0.45)) == pytest.approx(1000)
    assert cpu_us(measured(busy_cores=0.45)) is None


def test_the_limiter_is_the_cpu_when_all_of_its_cores_are_busy():
    """Four processes that each use a quarter of a core of their own are not limited by it."""
    assert figures.limiter(measured(cpu_s=2.0, cores=4)) == Limiter("nothing found")
    assert figures.limiter(measured(cpu_s=7.6, cores=4)) == Limiter("server CPU")
    assert figures.limiter(measured(cpu_s=2.0, cores=1)) == Limiter("server CPU")
    assert figures.limiter(measured(cpu_s=2.0)) == Limiter(
        "server CPU"
    )  # not pinned: it has one thread
    assert figures.server_cpu_share(measured(cpu_s=2.0, cores=4)) == 0.25


@pytest.mark.parametrize(
    ("cores_used", "cores", "processes", "says"),
    [
        (1.0, 2, 1, "one core"),  # an event loop, or threads behind a lock
        (0.91, 4, 1, "one core"),
        (1.09, 2, 1, "one core"),
        (0.85, 2, 1, "nothing found"),
        (1.2, 2, 1, "nothing found"),  # more than one thread of it ran at the same time
        (1.85, 2, 1, "server CPU"),
        (0.95, 1, 1, "server CPU"),
        (2.0, 4, 2, "one core"),  # each of two processes
        (1.0, 4, 2, "nothing found"),
        (1.9, 2, 2, "server CPU"),
        (1.0, 2, 100, "nothing found"),  # a process for each client
        (1.0, 2, None, "nothing found"),
    ],
)
def test_a_server_that_keeps_one_of_its_cores_busy_is_limited_by_one_core(
    cores_used, cores, processes, says
):
    """It may use more, and does not: as many cores as it has processes."""
    seen = measured(cpu_s=2 * cores_used, cores=cores, processes_max=processes)
    assert figures.limiter(seen) == Limiter(says)


def test_what_holds_a_core_of_the_servers_is_not_the_servers_cpu():
    """Workers on a core of the server are in that core's books, too: its own clock counts."""
    use = ServerUse(cpu_s=1.0, busy_cores=1.9, interrupts_apart=True, cores=2, processes_max=1)
    seen = made.ok(TRIAL, rate=500, shared_cores=(1,), server=use)
    assert cpu_us(seen) == pytest.approx(1000)
    assert figures.limiter(seen) == Limiter("nothing found")


def test_memory_is_all_that_the_machine_gave_up():
    """Own memory, stacks, page tables, slab and buffers; own beside, and under load."""
    before, after, loaded = (Memory(n, 0, 0, n, n, n, n) for n in (1000, 3000, 6000))
    seen = measured(before=before, after=after, loaded=loaded)
    assert figures.memory_per_client_bytes(seen) == 5 * 20
    assert figures.own_memory_per_client_bytes(seen) == 20
    assert figures.loaded_memory_per_client_bytes(seen) == 5 * 50
    assert figures.loaded_memory_per_client_bytes(measured(before=before, after=after)) is None


@pytest.mark.parametrize(
    "lacking",
    ["kernel_stacks_bytes", "page_tables_bytes", "slab_bytes", "sockets_bytes"],
)
def test_a_total_that_lacks_a_part_is_none(lacking):
    """Of the rest alone it would be too little, and look like a saving."""
    whole = made.memory(1000)
    part = made.memory(5000, **{lacking: None})
    for before, after in ((whole, part), (part, whole), (part, part)):
        seen = measured(before=before, after=after)
        assert figures.memory_per_client_bytes(seen) is None
        assert figures.own_memory_per_client_bytes(seen) is not None
