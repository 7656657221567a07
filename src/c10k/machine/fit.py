"""How many clients fit this machine. Pure but for the limits, which are read where not given."""

import math
from typing import Literal

import msgspec

from .read import MIB, Limits, read_limits

# Descriptors that a process needs besides one for each client. The client cannot import the
# suite and has the same number as SPARE_DESCRIPTORS (clients/echo_client.py).
RESERVE = 64
CLIENT_BYTES = 40 * 1024  # what a client takes of the machine, with a thread of its own
GENEROUS_BYTES = 100 * 1024  # a client's, on both sides and in the kernel, with a busy stack

Bound = Literal["", "descriptors", "ports", "memory"]


class Capacity(msgspec.Struct, frozen=True):
    """How many clients fit, and what bounds them.

    bound, arithmetic and remedy are "" when as many clients fit as are wanted.
    """

    most: int | None  # that fit; None: no limit is known
    wanted: int
    bound: Bound = ""
    arithmetic: str = ""  # where `most` comes from
    remedy: str = ""  # what allows more: a shell command; for memory, an option of c10k run

    @property
    def clients(self) -> int:
        """As many of those wanted as fit."""
        return self.wanted if self.most is None else min(self.most, self.wanted)

    @property
    def enough(self) -> bool:
        return self.clients == self.wanted

    @property
    def shortage(self) -> str:
        """How many clients fit, and why not more; "" when all of them do."""
        return "" if self.enough else f"at most {self.most:,} clients fit: {self.arithmetic}"

    @property
    def reason(self) -> str:
        """The shortage, and what allows more; "" when all clients fit."""
        if self.enough:
            return ""
        remedy = f"pass {self.remedy}" if self.bound == "memory" else f"run '{self.remedy}'"
        return f"{self.shortage}; {remedy} to allow more"


def capacity(
    wanted: int,
    limits: Limits | None = None,
    *,
    addresses: int = 1,
    processes: int = 1,
    budget_bytes: int | None = None,
    each_bytes: int = CLIENT_BYTES,
) -> Capacity:
    """How many of the wanted clients fit. limits: this machine's where None.

    Each of the server's processes needs one descriptor for each client that it serves, and
    RESERVE more. The launcher raises the soft limit to the hard one, so the hard one counts.
    (The clients' side starts as many workers as it needs.) Each of the clients' source
    addresses has the whole local port range. budget_bytes is the memory that a trial may take,
    and each_bytes is what one client takes of it. Threads are not a reason to refuse: a server
    that runs out of them is a result.
    """
    limits = read_limits() if limits is None else limits
    bounds: list[tuple[int, Bound, str, str]] = []  # most, bound, arithmetic, remedy
    if (hard := limits.descriptors_hard) is not None:
        needed = math.ceil((wanted / processes + RESERVE) / 1000) * 1000
        remedy = f"ulimit -n {needed}"
        if not limits.privileged:  # to whom ulimit gives no more than the hard limit
            remedy = f"sudo prlimit --pid $$ --nofile={needed}:{needed}"
        arithmetic = f"{hard:,} descriptors per process (ulimit -n)"
        bounds.append((max(0, hard - RESERVE) * processes, "descriptors", arithmetic, remedy))
    if limits.port_low is not None and limits.port_high is not None:
        ports = max(0, limits.port_high - limits.port_low + 1 - limits.ports_reserved)
        arithmetic = f"{ports:,} local ports (net.ipv4.ip_local_port_range)"
        remedy = 'sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
        bounds.append((ports * addresses, "ports", arithmetic, remedy))
    if budget_bytes is not None:
        budget = f"{budget_bytes // MIB:,} MiB may be taken"
        arithmetic = f"{budget}, at {each_bytes // 1024} KiB a client"
        bounds.append((budget_bytes // each_bytes, "memory", arithmetic, "--memory 80%"))
    if not bounds:
        return Capacity(None, wanted)
    most, bound, arithmetic, remedy = min(bounds)
    if most >= wanted:
        return Capacity(most, wanted)
    return Capacity(most, wanted, bound, arithmetic, remedy)


def worker_clients(limits: Limits | None = None) -> int | None:
    """How many clients one worker can hold; None where no limit is known."""
    hard = (read_limits() if limits is None else limits).descriptors_hard
    return None if hard is None else max(1, hard - RESERVE)
