"""Makes the plan of each worker: its clients, their addresses, its part of the load. Pure."""

import sys
from collections.abc import Sequence

from msgspec import Struct

from ..model import Arrivals, Kind, Load, Request, Workload

# A source address has the local port range, about 28,000 ports. When half of them are taken, the
# kernel needs long to find a free one: 20,000 clients from one address take 8 s to connect.
_SOURCES = 4  # addresses for each worker, where one is not enough
_PORTS = 12_000  # the most clients for which one address is enough


class WorkerRequest(Struct, frozen=True):
    """One request of a mix, as the client gets it."""

    line: str  # !WORK MILLISECONDS [KIB]
    share: int


class WorkerPlan(Struct, frozen=True, kw_only=True):
    """What one worker has to do: the part of clients/plan.py's Plan that a session sets.

    Every key is written, so the client's defaults do not matter. The client checks the bounds.
    """

    kind: Kind
    clients: int
    first_id: int
    message_bytes: int
    depth: int
    connecting: int
    connect_timeout_s: float
    warmup_s: float
    duration_s: float
    ceiling_s: float
    drain_s: float
    host: str = ""
    port: int = 0
    path: str = ""  # of a UNIX socket, instead of host and port
    authority: str = ""  # the clients speak TLS, and trust the certificates of this one only (PEM)
    rate: float = 0.0  # only for an open loop, like the next two
    arrivals: Arrivals = "poisson"
    seed: int = 0
    mix: tuple[WorkerRequest, ...] = ()
    sources: tuple[str, ...] = ()
    # which client is asked for (model.Client), until workers.py makes it the path of the inner
    # loops in C on the worker's machine, or "" for asyncio's
    library: str = ""
    hold: bool = True  # waits at the barrier until it is told to go


def addresses(load: Load, workers: int) -> int:
    """How many source addresses the clients connect from; each has its own ports."""
    if sys.platform == "linux" and (load.facts.reconnects or load.clients > _PORTS):
        return workers * _SOURCES
    return 1


def loopback_sources(index: int) -> tuple[str, ...]:
    """The loopback source addresses of one worker or host; no two of these share any."""
    net, subnet = divmod(index, 254)
    return tuple(f"127.{net}.{1 + subnet}.{1 + each}" for each in range(_SOURCES))


def even(clients: int, workers: int) -> list[int]:
    """How many clients each worker has when split evenly; fewer workers when clients are few."""
    workers = min(workers, clients)
    share, rest = divmod(clients, workers)
    return [share + (index < rest) for index in range(workers)]


def line_of(request: Request) -> str:
    """The line that asks a server of servers/working for this request's work."""
    memory = f" {request.kib}" if request.kib else ""
    return f"!{request.work} {request.ms:g}{memory}"


def plans(
    address: tuple[str, int] | str,
    workload: Workload,
    load: Load,
    shares: Sequence[int],
    seed: int,
    sources: Sequence[Sequence[str]] = (),
    authority: str = "",
) -> list[WorkerPlan]:
    """One plan for each worker. shares: the clients of each; rate and so on are in proportion.

    sources: the addresses that each worker connects from. Without them, many clients of a
    server on this machine's loopback use loopback_sources. authority: of a server that speaks
    TLS, PEM.
    """
    host, port, path = ("", 0, address) if isinstance(address, str) else (*address, "")
    if not sources and host == "127.0.0.1" and addresses(load, len(shares)) > 1:
        sources = [loopback_sources(index) for index in range(len(shares))]
    opened = load.facts.scheduled
    return [
        WorkerPlan(
            host=host,
            port=port,
            path=path,
            authority=authority,
            kind=load.kind,
            clients=clients,
            first_id=sum(shares[:index]),
            message_bytes=load.message_bytes,
            depth=load.depth,
            connecting=max(1, workload.connecting * clients // load.clients),
            connect_timeout_s=workload.connect_timeout_s,
            warmup_s=load.warmup_s,
            duration_s=load.duration_s,
            ceiling_s=load.ceiling_s,
            drain_s=workload.drain_s,
            rate=load.rate * clients / load.clients if opened else 0.0,
            arrivals=load.arrivals if opened else "poisson",
            seed=seed if opened else 0,
            mix=tuple(WorkerRequest(line_of(request), request.share) for request in load.mix),
            sources=tuple(sources[index]) if sources else (),
            library=load.client,
        )
        for index, clients in enumerate(shares)
    ]
