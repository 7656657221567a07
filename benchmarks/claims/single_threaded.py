"""Asynchronous servers are single-threaded."""

import time

from _loading import CANONICAL, closed, servers, serving
from msgspec.structs import replace

from c10k import drive, watch
from c10k.claims import always, figure, part

WORDS = "Asynchronous servers are single-threaded."
EXPERIMENT = """
Each canonical server, free to use every core, under a closed loop of 100 clients: the greatest
number of threads it had, and the cores it kept busy (CPU time over time).
"""
RULE = """
Of each event-driven server: supported when it never had a second thread and kept at most 1.05
cores busy, refuted when it had more threads or kept more busy. The threads server is shown beside
them.
"""


def measure(setting):
    samples = {}
    for block in range(setting.repetitions):
        for server in servers(CANONICAL):
            setting.say(f"{server.name}, repetition {block + 1}")
            threads, readings = [], []
            with serving(setting, server, None) as running:

                def sampled(running=running, threads=threads, readings=readings):
                    threads.append(watch.threads(running.pids) or 0)
                    readings.append((time.monotonic(), watch.cpu_ns(running.pid) or 0))

                try:
                    closed(running, 100, 0.5 if setting.quick else 2.0, sampled=sampled)
                except drive.ClientFailed as error:
                    setting.say(f"{server.name}: {error}")
                    continue
            (began, used_before), (ended, used) = readings[0], readings[-1]
            busy = (used - used_before) / 1e9 / (ended - began)
            samples.setdefault(f"{server.name} threads", []).append(max(threads))
            samples.setdefault(f"{server.name} cores", []).append(busy)
    return samples


def decide(samples):
    for key, values in samples.items():
        name, what = key.split()
        if what == "threads":
            alone = [each == 1 for each in values]
            one = always(f"{name} has one thread", alone, beside=[figure("threads", values)])
        else:
            one = part(f"{name} keeps at most one core busy", values, below=1.05, name="cores busy")
        if name.startswith("threads"):  # shown beside the others
            one = replace(one, decision="")
        yield one
