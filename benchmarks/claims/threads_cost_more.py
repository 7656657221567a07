"""Threads cost more per client: in memory, in starting, in switches."""

import time
from itertools import product
from pathlib import Path
from typing import NamedTuple

from _loading import Crowd, called, moved, on, pinned, servers, serving, shuffled

from c10k.claims import figure, part
from c10k.launch import processes, watch

WORDS = "Threads cost more per client: in memory, in starting, in switches."
EXPERIMENT = """
threads_sockets, asyncio_streams and gevent_streamserver with 100, 1,000 and 10,000 clients, on each
interpreter (gevent only where it can be installed).
Memory: all that the machine spent on a client, from before the first to when each has had one
echo: the server's processes, its threads' stacks in the kernel, page tables, the kernel's own
objects (those of the clients' sockets among them, equal for all) and sockets' buffers. Starting:
the CPU time that the server used until each client had its first echo; the clients' time is not in
it. Switches: of the server's threads, as the kernel counts them, read while nothing moves, before
and after messages that are counted: when all clients send at once, up to five times over, and when
one client sends at a time, 1,000 times over.
"""
RULE = """
For each cost, at each count, on each interpreter, against each of the two others: supported when
threads cost more than 1.1 times as much, refuted when less.
"""
COUNTS = (100, 1000, 10_000)
THREADS, OTHERS = "threads_sockets", ("asyncio_streams", "gevent_streamserver")
ROUNDS, ROUNDS_S, LONE = 5, 10.0, 1000
COSTS = {  # cost → in words, unit
    "memory": ("memory", "KiB"),
    "starting": ("starting", "µs of CPU time"),
    "switches": ("switches when all send at once", "per 1,000 echoes"),
    "lone": ("switches when one sends at a time", "per 1,000 echoes"),
}


class Sample(NamedTuple):
    """One cost of a server with this many clients."""

    server: str
    clients: int
    cost: str  # a key of COSTS
    interpreter: str  # in words


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    server_cpus, client_cpus = pinned()
    others = OTHERS[:1] if setting.quick else OTHERS
    contenders = [
        (server, called(interpreter))
        for each in servers(THREADS, *others)
        for interpreter in setting.interpreters
        if (server := on(each, interpreter))
    ]
    for clients in COUNTS:
        for block in range(setting.repetitions):
            for server, where in shuffled(contenders, block):
                setting.say(f"{server.name}, {where}, {clients:,} clients, repetition {block + 1}")
                with serving(setting, server, server_cpus) as running, moved(client_cpus):
                    for cost, value in costs(running, clients).items():
                        sample = Sample(server.name, clients, cost, where)
                        samples.setdefault(sample, []).append(value)
    return samples


def costs(running, clients):
    """The costs of one server's clients; 0 for a cost that could not be read."""
    held, used_ns = held_bytes(running.pids), processes.cpu_ns(running.pid)
    crowd = Crowd(running, clients)
    try:
        started_ns = processes.cpu_ns(running.pid)
        now_held = held_bytes(running.pids)
        before = switches(running.pid)
        sent, echoes = together(crowd, clients)
        between = switches(running.pid)
        crowd.one_by_one(LONE)
        after = switches(running.pid)
    finally:
        crowd.close()
    if echoes < sent:
        raise RuntimeError(f"{running.server.name}: {sent - echoes} echoes never came")
    return {
        "memory": (now_held - held) / clients / 1024 if held and now_held else 0.0,
        "starting": (started_ns - used_ns) / clients / 1000 if used_ns and started_ns else 0.0,
        "switches": (between - before) / echoes * 1000,
        "lone": (after - between) / LONE * 1000,
    }


def together(crowd, clients):
    """Lets all clients send at once, up to five times; returns (messages, echoes)."""
    sent, echoes, ends = 0, 0, time.monotonic() + ROUNDS_S
    while sent < ROUNDS * clients and (not sent or time.monotonic() < ends):
        sent += clients
        echoes += len(crowd.waits_s(60.0))
    return sent, echoes


def held_bytes(pids):
    """Bytes that a server and the kernel hold together; 0 if the system does not report it."""
    held = watch.memory(pids)
    if held is None:
        return 0
    kernel = (
        held.kernel_stacks_bytes,
        held.page_tables_bytes,
        held.slab_bytes,
        held.sockets_bytes,
    )
    return held.pss_bytes + sum(each or 0 for each in kernel)


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
    for where, other in product(dict.fromkeys(each.interpreter for each in samples), OTHERS):
        for clients in COUNTS:
            for cost, (words, unit) in COSTS.items():
                ours = samples.get(Sample(THREADS, clients, cost, where), ())
                theirs = samples.get(Sample(other, clients, cost, where), ())
                pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]
                if not theirs:
                    continue
                yield part(
                    f"{words}, {clients:,} clients: threads over {other}, {where}",
                    [a / b for a, b in pairs],
                    above=1.1,
                    name="ratio",
                    unit="×",
                    beside=[
                        figure("threads", [a for a, _ in pairs], unit),
                        figure(other, [b for _, b in pairs], unit),
                    ],
                )
