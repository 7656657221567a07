"""What the shared client costs, compared with a minimal C client, in one run.

The client with its inner loops in C, the client on asyncio and the minimal one load the floor
(servers/epoll_c) with 64-byte messages in a closed loop. Server and client have a core each.
The clients take turns, so that a drift affects all. A ratio is the median over the rounds of
the client's cost over the minimal one's.

  python benchmarks/instrument/client_cost.py [--rounds 5] [--json]
"""

import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import one_client

from c10k import launch, machine, paths
from c10k.declare import catalog

MESSAGE_BYTES = 64
CLIENT_COUNTS = (100, 10_000)
C_CLIENT = Path(__file__).with_name("epoll_client.c")


def ours(
    library: str, port: int, clients: int, seconds: float, core: int | None
) -> tuple[float, float]:
    """CPU µs per message of the shared client, and its memory per connection in bytes."""
    plan = {
        "library": library,
        "port": port,
        "clients": clients,
        "message_bytes": MESSAGE_BYTES,
        "duration_s": seconds,
        "warmup_s": 0.5,
    }
    events = one_client.shared(plan, core)
    result = events[-1]
    return result["cpu_ns"] / result["messages"] / 1000, events[0]["bytes_per_connection"]


def in_c(binary: Path, port: int, clients: int, seconds: float, core: int | None) -> float:
    """CPU µs per message of the C client."""
    words = ["127.0.0.1", str(port), str(clients), str(MESSAGE_BYTES), str(seconds)]
    result = one_client.run([str(binary), *words], core)[-1]
    return float(result["cpu_ns"] / result["messages"] / 1000)


def build(folder: Path) -> Path:
    """Compiles the C client."""
    binary = folder / "epoll_client"
    subprocess.run(["cc", "-O2", "-o", str(binary), str(C_CLIENT)], check=True)
    return binary


def measure(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each number of clients and each kind of inner loops."""
    launch.raise_descriptor_limit()
    pinning = machine.cores()
    core = pinning.clients[0] if pinning.clients else None
    floor = catalog.read(paths.SERVERS / "epoll_c.toml")
    libraries = {"C": launch.inner_loops(), "asyncio": ""}
    rows = []
    with tempfile.TemporaryDirectory(prefix="c10k-cost-") as folder:
        binary = build(Path(folder))
        for clients in CLIENT_COUNTS:
            costs: dict[str, list[float]] = {loops: [] for loops in libraries}
            memory: dict[str, list[float]] = {loops: [] for loops in libraries}
            minimal = []
            for _ in range(rounds):
                running = launch.start(floor, Path(folder) / "log", cpus=pinning.server)
                port = int(running.address[1])
                try:
                    for loops, library in libraries.items():
                        cost, per_connection = ours(library, port, clients, seconds, core)
                        costs[loops].append(cost)
                        memory[loops].append(per_connection)
                    minimal.append(in_c(binary, port, clients, seconds, core))
                finally:
                    running.stop()
            for loops in libraries:
                ratios = [a / b for a, b in zip(costs[loops], minimal, strict=True)]
                rows.append(
                    {
                        "loops": loops,
                        "clients": clients,
                        "client_cpu_us_per_message": statistics.median(costs[loops]),
                        "minimal_cpu_us_per_message": statistics.median(minimal),
                        "ratio": statistics.median(ratios),
                        "ratio_least": min(ratios),
                        "ratio_greatest": max(ratios),
                        "client_bytes_per_connection": statistics.median(memory[loops]),
                        "rounds": rounds,
                        "pinned": pinning.note,
                    }
                )
    return rows


def main() -> None:
    arguments = one_client.arguments(__doc__ or "", rounds=5, seconds=2.0)
    rows = measure(arguments.rounds, arguments.seconds)
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=1))
        return
    print(f"{rows[0]['pinned']}; medians of {arguments.rounds} rounds, {MESSAGE_BYTES} B messages")
    print("clients  loops    client µs/message  minimal µs/message  ratio           B/connection")
    for row in rows:
        print(
            f"{row['clients']:7,}  {row['loops']:7}  {row['client_cpu_us_per_message']:17.2f}"
            f"  {row['minimal_cpu_us_per_message']:18.2f}"
            f"  {row['ratio']:.2f} ({row['ratio_least']:.2f} to {row['ratio_greatest']:.2f})"
            f"  {row['client_bytes_per_connection']:10,.0f}"
        )


if __name__ == "__main__":
    main()
