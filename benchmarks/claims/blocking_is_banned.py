"""One blocking call in one handler stalls everyone; specific libraries are required."""

import contextlib
from statistics import median
from typing import NamedTuple

from _loading import Crowd, has_threads, meanwhile, pinned, serving, shuffled, working
from msgspec.structs import replace

from c10k.claims import figure, part

WORDS = "One blocking call in one handler stalls everyone; specific libraries are required."
EXPERIMENT = """
The servers of servers/working. After a rest one client's handler sleeps 100 ms: in C code that no
patch of Python reaches (call), by time.sleep (block), by the framework's own way out to a thread
(offload), or as the framework teaches (wait). Or the handlers of 100 clients are in that way out
at the same time, 50 ms each. 5 ms later 1,000 other clients send one message each, all at once.
Measured is how long each of them waits for its echo. A call of 1 ms is the control.
"""
RULE = """
Each event-driven server has four parts. A blocking call stalls everyone, and the standard library's
own sleep does so (so that a specific library is required): each supported when more than 90 % of
the others waited 50 ms or longer, refuted when fewer, not resolved where 10 % or more did so beside
the call of 1 ms. Its own way out gives it back, with one handler in it and with 100: each supported
when fewer than 10 % waited that long meanwhile, refuted when more. Also shown is how long the last
of the 100 took: they wait for one another when the way out has fewer threads. Threads are shown for
comparison.
"""
OTHERS, MANY, BLOCK_MS, MANY_MS, CONTROL_MS = 1000, 100, 100, 50, 1
# name → what handlers are asked to do, for how long, and how many of them
WORKS = {
    "call": ("call", BLOCK_MS, 1),
    "control": ("call", CONTROL_MS, 1),
    "block": ("block", BLOCK_MS, 1),
    "wait": ("wait", BLOCK_MS, 1),
    "offload": ("offload", BLOCK_MS, 1),
    "offload-many": ("offload", MANY_MS, MANY),
}


class Sample(NamedTuple):
    """One figure of a server while its handlers did a work."""

    server: str
    work: str  # a key of WORKS
    what: str


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    server_cpus, _ = pinned()
    for server in shuffled(working(), 0):
        setting.say(server.name)
        with serving(setting, server, server_cpus) as running, contextlib.ExitStack() as stack:
            crowd = Crowd(running, OTHERS)
            stack.callback(crowd.close)
            asking = [stack.enter_context(running.connect()) for _ in range(MANY)]
            for block in range(setting.repetitions):
                for name in shuffled(WORKS, block):
                    work, milliseconds, handlers = WORKS[name]
                    seen = meanwhile(crowd, asking[:handlers], work, milliseconds)
                    for what, value in seen.items():
                        sample = Sample(server.name, name, what)
                        samples.setdefault(sample, []).append(value)
    return samples


def decide(samples):
    for name in sorted({sample.server for sample in samples}):

        def found(work, what, name=name):
            return samples.get(Sample(name, work, what), ())

        def of_the_others(words, work, found=found, **bound):
            return part(
                words,
                found(work, "share"),
                most=1,
                name="share of the others that waited 50 ms",
                beside=[
                    figure("longest wait", found(work, "longest"), "ms"),
                    figure("all handlers were done after", found(work, "done"), "ms"),
                ],
                **bound,
            )

        parts = [
            of_the_others(
                f"{name}: a call of {BLOCK_MS} ms into C stalls everyone", "call", above=0.9
            ),
            of_the_others(
                f"{name}: time.sleep of {BLOCK_MS} ms stalls everyone", "block", above=0.9
            ),
            of_the_others(f"{name}: one offloaded sleep stalls nobody", "offload", below=0.1),
            of_the_others(
                f"{name}: {MANY} offloaded sleeps stall nobody", "offload-many", below=0.1
            ),
        ]
        control = found("control", "share")
        if not control or median(control) >= 0.1:
            parts[:2] = [replace(one, decision="not resolved") for one in parts[:2]]
        compared = of_the_others("", "wait", below=0.1)
        parts.append(replace(compared, what=f"{name}: a sleep as it teaches", decision=""))
        for one in parts:
            yield replace(one, decision="") if has_threads(name) else one
