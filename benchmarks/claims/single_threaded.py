"""Asynchronous servers are single-threaded."""

import contextlib
import time
from typing import NamedTuple

from _loading import CANONICAL, has_threads, loaded, receive, send, servers, serving, working
from msgspec.structs import replace

from c10k.claims import always, figure, part
from c10k.launch import processes

WORDS = "Asynchronous servers are single-threaded."
EXPERIMENT = """
Two kinds of servers, free to use every core. Each canonical server, which only echoes, under a
closed loop of 100 clients: the threads that it had at the beginning and at the end of a stretch,
and the cores that it kept busy in between (CPU time over time). And each server of
servers/working while 20 handlers wait at the same time in the framework's own way out to a thread:
the threads that it has then.
"""
RULE = """
Each event-driven server that only echoes has two parts: supported when it never had a second
thread, and when it kept at most 1.05 cores busy; refuted when it had more threads or kept more
busy. Each event-driven server at work has one part: supported when it has one thread while its
handlers wait, refuted when it has more. Threads are shown for comparison. So a claim that holds
for an echo, but not for servers that do more, depends.
"""
BUSY, MOST_S = 1.05, 20.0
OFFLOADING, OFFLOADED_MS = 20, 100


class Sample(NamedTuple):
    """One figure of a server."""

    server: str
    what: str


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    for block in range(setting.repetitions):
        for server in servers(CANONICAL):
            setting.say(f"{server.name}, repetition {block + 1}")
            with serving(setting, server, None) as running:
                threads, busy = echoing(running, 0.5 if setting.quick else 2.0)
            samples.setdefault(Sample(server.name, "threads"), []).append(threads)
            samples.setdefault(Sample(server.name, "cores"), []).append(busy)
        for server in working():
            setting.say(f"{server.name}, repetition {block + 1}")
            with serving(setting, server, None) as running:
                threads = offloading(running)
            samples.setdefault(Sample(server.name, "offloading"), []).append(threads)
    return samples


def echoing(running, seconds):
    """The most threads that a server had under load, and the cores that it kept busy."""
    with loaded(running, 100, MOST_S):
        time.sleep(0.5)  # until it is warm
        before, (began, used_before) = processes.threads(running.pids), clocks(running)
        time.sleep(seconds)
        (ended, used), after = clocks(running), processes.threads(running.pids)
    return max(filter(None, (before, after))), (used - used_before) / (ended - began)


def clocks(running):
    """The time and the server's CPU time, ns."""
    return time.monotonic_ns(), processes.cpu_ns(running.pid)


def offloading(running):
    """How many threads a server has while several handlers wait in its way out."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(OFFLOADING)]
        for client in clients:
            send(client, "offload", OFFLOADED_MS)
        time.sleep(OFFLOADED_MS / 2000)
        threads = processes.threads(running.pids)
        for client in clients:
            receive(client)
    return threads


def decide(samples):
    for (name, what), values in samples.items():
        alone = [each == 1 for each in values]
        beside = [figure("threads", values)]
        match what:
            case "threads":
                one = always(f"{name} has one thread", alone, beside=beside)
            case "offloading":
                words = f"{name} has one thread while {OFFLOADING} handlers wait in its way out"
                one = always(words, alone, beside=beside)
            case _:
                words = f"{name} keeps at most one core busy"
                one = part(words, values, below=BUSY, name="cores busy")
        if has_threads(name):  # shown beside the others
            one = replace(one, decision="")
        yield one
