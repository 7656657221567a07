"""Which cores the server and the client workers get. Pure but for cores()."""

import os
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest

import msgspec

from ..model import ServerCores
from .read import cores_allowed, sibling_groups


class Pinning(msgspec.Struct, frozen=True):
    """Which cores the server and the client workers get; None: not pinned, and note says why."""

    server: tuple[int, ...] | None
    clients: tuple[int, ...] | None  # one for each worker
    workers: int
    note: str
    shared: tuple[int, ...] = ()  # cores of the server on which workers run, too


def pinning(
    allowed: Sequence[int] | None,
    siblings: Iterable[Collection[int]] = (),
    logical: int | None = None,
    processes: int = 1,
    server_cores: ServerCores = 0,
) -> Pinning:
    """Splits the allowed cores: the first are the server's, each client worker gets another.

    The server gets server_cores of them. With 0 it gets one for each of its processes, but at
    most half of the real cores. Both sides get one hyper-thread of each real core, and the other
    hyper-threads are left idle. When the server's cores leave no real core for the clients,
    they get only one: the last hyper-thread that is left, or else the last of the server's cores.

    allowed: None where the system cannot pin; then `logical`, the number of cores, decides how
    many workers are started. siblings: the groups of hyper-threads that are one real core each;
    a core in no group is a real core.
    """
    if allowed is None:
        workers = max(1, (logical or 1) - 1)
        return Pinning(None, None, workers, "not pinned: this system cannot pin processes")
    real = real_cores(allowed, siblings)
    count = number(server_cores, len(allowed)) or max(1, min(processes, len(real) // 2))
    server = tuple(sorted(handed_out(real)[:count]))
    others = tuple(core for core, *rest in real if not {core, *rest} & set(server))
    idle = [core for core in sorted(allowed) if core not in {*server, *others}]
    if others:
        note = f"server on {named(server)}; clients on {named(others)}"
        note += f"; hyper-threads {listed(idle)} left idle" if idle else ""
        return Pinning(server, others, len(others), note)
    if idle:
        beside = next(group[0] for group in real if idle[-1] in group)
        note = f"server on {named(server)}; clients on {named(idle[-1:])}"
        note += f", a hyper-thread of the server's core {beside}"
        return Pinning(server, (idle[-1],), 1, note)
    note = f"server on {named(server)}; clients on {named(server[-1:])}"
    if len(server) == 1:
        note = f"server and clients on {named(server)}"
    return Pinning(server, server[-1:], 1, note, shared=server[-1:])


def number(server_cores: ServerCores, there: int) -> int:
    """How many cores are asked for, of those that are there; 0: one for each process."""
    return there if server_cores == "all" else server_cores


def too_few_cores(host: str, server_cores: ServerCores, there: int) -> str:
    """Why a server cannot have so many cores of a host; "" when it can.

    there: how many it may use; 0 where the system cannot pin.
    """
    if not server_cores or (there and number(server_cores, there) <= there):
        return ""
    if not there:
        return f"server cores, {server_cores}: {host} cannot pin processes to cores"
    plural = "s" * (there != 1)
    return f"server cores, {server_cores}: {host} has {there} core{plural}; give at most {there}"


def real_cores(
    cores: Iterable[int], siblings: Iterable[Collection[int]] = ()
) -> list[tuple[int, ...]]:
    """The real cores, each with those of its hyper-threads that are among these cores."""
    group_of = {core: frozenset(group) for group in siblings for core in group}
    found: dict[frozenset[int], tuple[int, ...]] = {}
    for core in sorted(cores):
        group = group_of.get(core, frozenset((core,)))
        found[group] = (*found.get(group, ()), core)
    return list(found.values())


def handed_out(real: Iterable[Sequence[int]]) -> list[int]:
    """Cores in the order in which they are given away: one of each real core, then the next."""
    return [core for turn in zip_longest(*real) for core in turn if core is not None]


def cores(processes: int = 1, server_cores: ServerCores = 0) -> Pinning:
    """How to split the cores of this machine that this process may use."""
    allowed = cores_allowed()
    return pinning(allowed, sibling_groups(allowed or ()), os.cpu_count(), processes, server_cores)


def named(cores: Sequence[int]) -> str:
    """Cores in words: core 0; cores 0, 2; cores 1-63."""
    return f"core{'s' * (len(cores) > 1)} {listed(cores)}"


def listed(cores: Sequence[int]) -> str:
    """Ascending numbers, with three or more in a row as a range: 0, 1, 4-7."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )
