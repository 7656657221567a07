"""Threads cost more per client: in memory, in starting, in switches."""

import time
from pathlib import Path

from _loading import closed, pinned, servers, serving, shuffled

from c10k import drive, watch
from c10k.claims import figure, part

WORDS = "Threads cost more per client: in memory, in starting, in switches."
EXPERIMENT = """
threads_sockets, asyncio_streams and gevent_streamserver under a closed loop of 100, 1,000 and
10,000 clients. Memory: what the server's processes and its threads' stacks in the kernel grew by,
per client. Starting: the time until every client has had its first echo, per client. Switches: of
the server's threads, as the kernel counts them, per echo.
"""
RULE = """
Of each cost at each count and each of the two others: supported when threads cost more than 1.1
times as much, refuted when less.
"""
SLICE_S = 1.0
COUNTS = (100, 1000, 10_000)
THREADS, OTHERS = "threads_sockets", ("asyncio_streams", "gevent_streamserver")
COSTS = {"memory": "KiB", "starting": "µs", "switches": "per 1,000 echoes"}


def measure(setting):
    samples = {}
    server_cpus, client_cpus = pinned()
    others = OTHERS[:1] if setting.quick else OTHERS
    for clients in COUNTS:
        for block in range(setting.repetitions):
            for server in shuffled(servers(THREADS, *others), block):
                setting.say(f"{server.name}, {clients:,} clients, repetition {block + 1}")
                with serving(setting, server, server_cpus) as running:
                    for cost, value in costs(running, clients, client_cpus).items():
                        samples.setdefault(f"{server.name} {clients} {cost}", []).append(value)
    return samples


def costs(running, clients, cpus):
    """What one server pays for its clients; 0 where it could not be seen."""
    before = watch.memory(running.pids)
    seen, switched, echoes = [], [], []
    began = []

    def connected(barrier):
        seen.append((barrier, watch.memory(running.pids)))
        switched.append(switches(running.pid))

    def sampled():
        """At the end of the slice only: reading 10,000 threads takes a while."""
        began.append(time.monotonic())
        if began[-1] - began[0] > 0.9 * SLICE_S:
            switched.append(switches(running.pid))

    try:
        driven = closed(
            running,
            clients,
            SLICE_S,
            cpus=cpus,
            connected=connected,
            sampled=sampled,
        )
        echoes.append(driven.bins[-1][1] if driven.bins else driven.messages)
    except drive.ClientFailed:
        pass
    found = dict.fromkeys(COSTS, 0.0)
    if seen and before and seen[0][1]:
        barrier, after = seen[0]
        grown = after.pss_bytes - before.pss_bytes
        if after.kernel_stacks_bytes is not None and before.kernel_stacks_bytes is not None:
            grown += after.kernel_stacks_bytes - before.kernel_stacks_bytes
        found["memory"] = grown / clients / 1024
        found["starting"] = barrier.connect_s / clients * 1e6
    if echoes and echoes[0] and len(switched) > 1:
        found["switches"] = (switched[-1] - switched[0]) / echoes[0] * 1000
    return found


def switches(pid):
    """Context switches of all threads of a process so far."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue  # this thread has just ended
        total += sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)
    return total


def decide(samples):
    for other in OTHERS:
        for clients in COUNTS:
            for cost, unit in COSTS.items():
                ours = samples.get(f"{THREADS} {clients} {cost}", ())
                theirs = samples.get(f"{other} {clients} {cost}", ())
                pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]
                if not theirs:
                    continue
                yield part(
                    f"{cost} at {clients:,} clients: threads over {other}",
                    [a / b for a, b in pairs],
                    above=1.1,
                    name="ratio",
                    unit="×",
                    beside=[
                        figure("threads", [a for a, _ in pairs], unit),
                        figure(other, [b for _, b in pairs], unit),
                    ],
                )
