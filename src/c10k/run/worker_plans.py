"""The plan of each worker: its clients, their addresses, its part of the load. Pure."""

import sys
from collections.abc import Sequence
from typing import Any

from ..model import Load, Workload

# A source address has the local port range, some 28,000 ports. Finding a free one takes the
# kernel long when half of them are taken: 20,000 clients from one address take 8 s to connect.
_SOURCES = 4  # addresses a worker, where one is not enough
_PORTS = 12_000  # clients for which one address is enough


def addresses(load: Load, workers: int) -> int:
    """From how many source addresses the clients connect: each has its own ports."""
    if sys.platform == "linux" and (load.kind == "churn" or load.clients > _PORTS):
        return workers * _SOURCES
    return 1


def loopback_sources(index: int) -> tuple[str, ...]:
    """The source addresses of one worker or host on loopback; no two have one in common."""
    return tuple(f"127.0.{1 + index}.{1 + each}" for each in range(_SOURCES))


def even(clients: int, workers: int) -> list[int]:
    """How many clients each worker has when they are split evenly; none has none."""
    workers = min(workers, clients)
    share, rest = divmod(clients, workers)
    return [share + (index < rest) for index in range(workers)]


def plans(
    address: tuple[str, int] | str,
    workload: Workload,
    load: Load,
    shares: Sequence[int],
    seed: int,
    sources: Sequence[Sequence[str]] = (),
) -> list[dict[str, Any]]:
    """One client plan a worker, of which each has so many clients and its part of the rest.

    sources: the addresses that each worker connects from; without them many clients of
    this machine's own server rotate through those of its loopback.
    """
    target: dict[str, Any] = (
        {"path": address} if isinstance(address, str) else {"host": address[0], "port": address[1]}
    )
    if not sources and target.get("host") == "127.0.0.1" and addresses(load, len(shares)) > 1:
        sources = [loopback_sources(index) for index in range(len(shares))]
    made, first = [], 0
    for index, clients in enumerate(shares):
        made.append(
            {
                **target,
                "kind": load.kind,
                "clients": clients,
                "first_id": first,
                "message_bytes": load.message_bytes,
                "depth": load.depth,
                "connecting": max(1, workload.connecting * clients // load.clients),
                "connect_timeout_s": workload.connect_timeout_s,
                "warmup_s": load.warmup_s,
                "duration_s": load.duration_s,
                "ceiling_s": load.ceiling_s,
                **(
                    {
                        "rate": load.rate * clients / load.clients,
                        "arrivals": load.arrivals,
                        "seed": seed,
                    }
                    if load.kind == "open"
                    else {}
                ),
                **({"sources": list(sources[index])} if sources and sources[index] else {}),
                "drain_s": workload.drain_s,
                "hold": True,
            }
        )
        first += clients
    return made
