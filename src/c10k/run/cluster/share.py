"""How many clients each host has, or why they do not fit: pure.

A host's part goes by the amount of its label (`client=2` has twice what `client=1` has), up to
the room that its ports, source addresses and memory leave; what one has no room for goes
to the others. Descriptors are no bound: a host starts as many workers as it needs.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from ... import machine
from ...machine import Limits
from .facts import Labelled

# What a client takes of its own host: measured are 1.9 KiB of the worker's and 4.4 KiB of the
# kernel's while nothing is on its way (docs/scale.md); as much again is left for buffers.
CLIENT_BYTES = 12 * 1024


class Room(Struct, frozen=True):
    """What one host has for clients; clients None: no limit is told."""

    host: str
    weight: float
    clients: int | None
    why: str = ""  # the arithmetic of a limit


class Seat(Struct, frozen=True):
    """A host and the cores that it gives to a trial; a client's workers, and their clients."""

    host: Labelled
    cores: tuple[int, ...]
    sources: tuple[str, ...] = ()
    shares: tuple[int, ...] = ()  # one a worker


def of(
    host: str, weight: float, limits: Limits, addresses: int, budget_bytes: int, wanted: int
) -> Room:
    """The room of a host with so many source addresses and so much memory to take."""
    fits = machine.capacity(
        wanted,
        replace(limits, descriptors_hard=None),
        addresses=addresses,
        budget_bytes=budget_bytes,
        each_bytes=CLIENT_BYTES,
    )
    why = fits.reason.partition(": ")[2].partition(";")[0]
    if fits.bound == "ports":
        why += f" × {addresses} source address{'es' * (addresses > 1)}"
    return Room(host, weight, fits.room, why)


def refusal(wanted: int, rooms: Sequence[Room]) -> str:
    """Why so many clients do not fit these hosts, with the arithmetic; "" when they do."""
    counts = [room.clients for room in rooms if room.clients is not None]
    if len(counts) < len(rooms) or sum(counts) >= wanted:
        return ""
    each = "; ".join(f"{room.host} has room for {room.clients:,} ({room.why})" for room in rooms)
    return (
        f"{wanted:,} clients do not fit, {sum(counts):,} would: {each}; add client hosts, "
        "or source addresses to those that are there (ip addr add)"
    )


def split(wanted: int, rooms: Sequence[Room]) -> list[int]:
    """How many clients each host has; all of them, when they fit. Nobody has less than 0."""
    shares = [0] * len(rooms)
    left = wanted
    while left:
        open_ = [
            index
            for index, room in enumerate(rooms)
            if room.clients is None or shares[index] < room.clients
        ]
        if not open_:
            raise ValueError(f"{left} clients have no host")
        weight = sum(rooms[index].weight for index in open_)
        before = left
        for index in open_:
            room, part = rooms[index], int(before * rooms[index].weight / weight)
            part = min(max(part, 1), left)
            if room.clients is not None:
                part = min(part, room.clients - shares[index])
            shares[index] += part
            left -= part
    return shares
