"""What fits this machine: how many clients, and which cores for whom. Pure but for cores()."""

import math
import os
from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from .read import MIB, Limits, cores_allowed, read_limits, sibling_threads

BACKLOG = 4096  # what the launcher listens with; a smaller somaxconn cuts it short
RESERVE = 64  # descriptors a process needs besides one per client
WORKERS_MAX = 4
CLIENT_BYTES = 40 * 1024  # what a client takes of the machine, with a thread of its own
GENEROUS_BYTES = 100 * 1024  # a client's, on both sides and in the kernel, with a busy stack

Bound = Literal["", "descriptors", "ports", "memory"]


class Capacity(msgspec.Struct, frozen=True):
    """How many clients fit. bound, reason and remedy are "" when as many as wanted do."""

    room: int | None  # None: no limit told
    wanted: int
    bound: Bound = ""
    reason: str = ""
    remedy: str = ""

    @property
    def clients(self) -> int:
        """As many of those wanted as fit."""
        return self.wanted if self.room is None else min(self.room, self.wanted)

    @property
    def enough(self) -> bool:
        return self.clients == self.wanted


class Pinning(msgspec.Struct, frozen=True):
    """Which cores the server and each client worker get; None: not pinned, note says why."""

    server: tuple[int, ...] | None
    clients: tuple[int, ...] | None  # one worker a core
    workers: int
    note: str
    one_core: bool = False  # for server and clients together


def capacity(
    wanted: int,
    limits: Limits | None = None,
    *,
    addresses: int = 1,
    processes: int = 1,
    budget_bytes: int | None = None,
    each_bytes: int = CLIENT_BYTES,
) -> Capacity:
    """How many clients fit, of wanted; limits: None reads this machine's.

    Each of the server's processes needs a descriptor per client that it serves and RESERVE
    more; the launcher raises the soft limit to the hard one, so the hard one counts. (The
    clients' side starts as many workers as it needs.) Each of the clients' source addresses
    has the local port range. budget_bytes: memory that a trial may take, of which a client
    takes each_bytes. Threads are no reason to refuse: a server that runs out of them is a result.
    """
    limits = read_limits() if limits is None else limits
    needed = math.ceil((wanted / processes + RESERVE) / 1000) * 1000
    rooms: list[tuple[int, Bound, str, str]] = []
    if (hard := limits.descriptors_hard) is not None:
        why = f"{hard:,} descriptors per process (ulimit -n)"
        raising = f"ulimit -n {needed}"
        if not limits.privileged:  # the limit is the hard one already
            raising = f"sudo prlimit --pid $$ --nofile={needed}:{needed}"
        rooms.append((max(0, hard - RESERVE) * processes, "descriptors", why, raising))
    if limits.port_low is not None and limits.port_high is not None:
        ports = max(0, limits.port_high - limits.port_low + 1 - limits.ports_reserved)
        why = f"{ports:,} local ports (net.ipv4.ip_local_port_range)"
        raising = 'sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
        rooms.append((ports * addresses, "ports", why, raising))
    if budget_bytes is not None:
        why = f"{budget_bytes // MIB:,} MiB may be taken, at {each_bytes // 1024} KiB a client"
        rooms.append((budget_bytes // each_bytes, "memory", why, "--memory 80%"))
    if not rooms:
        return Capacity(None, wanted)
    room, bound, why, remedy = min(rooms)
    if room >= wanted:
        return Capacity(room, wanted)
    reason = f"at most {room:,} clients fit: {why}; type '{remedy}' to allow more"
    return Capacity(room, wanted, bound, reason, remedy)


def worker_clients(limits: Limits | None = None) -> int | None:
    """How many clients one worker can hold; None: no limit told."""
    hard = (read_limits() if limits is None else limits).descriptors_hard
    return None if hard is None else max(1, hard - RESERVE)


def pinning(
    allowed: Sequence[int] | None,
    beside: Collection[int] = (),
    logical: int | None = None,
    processes: int = 1,
) -> Pinning:
    """Splits the allowed cores: the first for the server, one for each client worker.

    A server of several processes gets one core for each of them, at most half of all.

    allowed: None where the system cannot pin; then logical, the number of cores, says how
    many workers to start. beside: hyper-threads that share the first core; they are left
    idle when other cores are there.
    """
    if allowed is None:
        workers = min(WORKERS_MAX, max(1, (logical or 1) - 1))
        return Pinning(None, None, workers, "not pinned: this system cannot pin processes")
    served = max(1, min(processes, len(allowed) // 2))
    mine, others = sorted(allowed)[:served], sorted(allowed)[served:]
    if not others:
        return Pinning(None, None, 1, "not pinned: one core for server and clients", one_core=True)
    apart = [core for core in others if core not in beside]
    clients = tuple((apart or others)[:WORKERS_MAX])
    note = f"server on {_cores(mine)}, clients on {_cores(clients)}"
    if not apart:
        note += ", hyper-threads of one core"
    elif set(others) & set(beside):
        note += f"; {_cores(sorted(set(others) & set(beside)))} left idle beside the server"
    return Pinning(tuple(mine), clients, len(clients), note)


def _cores(cores: Sequence[int]) -> str:
    return ("core " if len(cores) == 1 else "cores ") + ", ".join(map(str, cores))


def cores(processes: int = 1) -> Pinning:
    """pinning() of this machine's cores, as this process may use them."""
    allowed = cores_allowed()
    return pinning(
        allowed, sibling_threads(min(allowed)) if allowed else (), os.cpu_count(), processes
    )
