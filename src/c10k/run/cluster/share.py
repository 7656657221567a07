"""Splits the clients between the hosts, or says why they do not fit; and each host's cores. Pure.

A host's share follows the amount of its label: `client=2` has twice the clients of `client=1`,
up to what its ports, source addresses and memory allow. The rest goes to the other hosts.
Descriptors are not a bound, because a host starts as many workers as it needs.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from ... import machine
from ...machine import Limits
from ...model import ServerCores
from .facts import HostFacts, LabelledHost

# The memory of an idle client on its own host was measured: 1.9 KiB of the worker's and 4.4 KiB
# of the kernel's (docs/scale.md). As much again is left for buffers.
CLIENT_BYTES = 12 * 1024


class HostCapacity(Struct, frozen=True):
    """The greatest number of clients that one host can have."""

    host: str
    weight: float  # the amount of its label
    most: int | None  # None: no limit is known
    arithmetic: str = ""  # where `most` comes from, when it is too few


class Seat(Struct, frozen=True):
    """A host and its cores for a trial. A client host also has sources and shares."""

    host: LabelledHost
    cores: tuple[int, ...]
    sources: tuple[str, ...] = ()  # addresses to connect from; empty: the kernel's choice
    shares: tuple[int, ...] = ()  # the clients of each worker


def capacity(
    host: str, weight: float, limits: Limits, addresses: int, budget_bytes: int, wanted: int
) -> HostCapacity:
    """The capacity of a host with these limits, source addresses and budget of memory."""
    fits = machine.capacity(
        wanted,
        replace(limits, descriptors_hard=None),
        addresses=addresses,
        budget_bytes=budget_bytes,
        each_bytes=CLIENT_BYTES,
    )
    arithmetic = fits.arithmetic
    if fits.bound == "ports":
        arithmetic += f" × {addresses} source address{'es' * (addresses > 1)}"
    return HostCapacity(host, weight, fits.most, arithmetic)


def refusal(wanted: int, capacities: Sequence[HostCapacity]) -> str:
    """Why `wanted` clients do not fit these hosts, with the arithmetic; "" when they do."""
    counts = [each.most for each in capacities if each.most is not None]
    if len(counts) < len(capacities) or sum(counts) >= wanted:
        return ""
    listed = "; ".join(
        f"{each.host} has room for {each.most:,} ({each.arithmetic})" for each in capacities
    )
    return (
        f"{wanted:,} clients do not fit, {sum(counts):,} would: {listed}; add client hosts, "
        "or source addresses to those that are there (ip addr add)"
    )


def split(wanted: int, capacities: Sequence[HostCapacity]) -> list[int]:
    """How many clients each host has, in the order of the hosts.

    Raises ValueError when they do not all fit.
    """
    shares = [0] * len(capacities)
    left = wanted
    while left:
        not_full = [
            index
            for index, host in enumerate(capacities)
            if host.most is None or shares[index] < host.most
        ]
        if not not_full:
            raise ValueError(f"{left} clients have no host")
        weight = sum(capacities[index].weight for index in not_full)
        before = left
        for index in not_full:
            host, part = capacities[index], int(before * capacities[index].weight / weight)
            part = min(max(part, 1), left)
            if host.most is not None:
                part = min(part, host.most - shares[index])
            shares[index] += part
            left -= part
    return shares


def usable(known: HostFacts) -> tuple[int, ...]:
    """A host's cores without the first, which is left to the system and Dask; one alone is used."""
    _, *others = machine.real_cores(known.cores, known.siblings) or [()]
    beyond = sorted(core for group in others for core in group)
    return tuple(beyond) or known.cores[1:] or known.cores


def server_cores(known: HostFacts, processes: int, wanted: ServerCores) -> tuple[int, ...]:
    """The cores of a server on a host where no clients are: one for each process, or `wanted`."""
    cores = usable(known)
    count = machine.number(wanted, len(cores)) or processes
    return tuple(sorted(machine.handed_out(machine.real_cores(cores, known.siblings))[:count]))


def client_cores(known: HostFacts) -> tuple[int, ...]:
    """The cores of the workers on a host where no server is: one hyper-thread of each real core."""
    return tuple(core for core, *_ in machine.real_cores(usable(known), known.siblings))


def cores_of_both(known: HostFacts, processes: int, wanted: ServerCores) -> machine.Pinning:
    """How the only host, which is the server's and the clients', splits its cores: as locally."""
    return machine.pinning(usable(known) or None, known.siblings, None, processes, wanted)
