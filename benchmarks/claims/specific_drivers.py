"""Asynchronous servers need specific libraries: a driver of their framework for a database."""

import contextlib
from statistics import median
from typing import NamedTuple

from _loading import Crowd, asking_redis, has_threads, meanwhile, pinned, serving, shuffled
from msgspec.structs import replace

from c10k.claims import figure, part

WORDS = "Asynchronous servers need specific libraries: a driver of their framework for a database."
EXPERIMENT = """
The servers of servers/backend, each with a Redis of its own, on the server's core. After a rest
one client's handler asks Redis for what does not come within 100 ms (BLPOP). 5 ms later 1,000 other
clients send one message each, all at once, for which the server asks nobody. Measured is how long
each of them waits for its echo. A question of 1 ms is the control.
"""
RULE = """
Each event-driven server has one part. With redis-py, a driver for any program, the slow question
stalls everyone, so that a specific one is needed: supported when more than 90 % of the others
waited 50 ms or longer, refuted when fewer. So it is asked of redis-py as it is (asyncio), patched
(gevent) and in threads (curio). With a driver of its framework it stalls nobody: supported when
fewer than 10 % waited that long, refuted when more. Not resolved is a part where 10 % or more did
so beside the question of 1 ms. Threads are shown for comparison.
"""
OTHERS, SLOW_MS, CONTROL_MS = 1000, 100, 1
QUESTIONS = {"slow": SLOW_MS, "control": CONTROL_MS}
# Whoever uses redis-py, and how.
PLAIN = {
    "asyncio_redis_blocking": "as it is",
    "gevent_redis": "patched",
    "curio_redis_in_threads": "in threads",
    "threads_redis": "as it is",
}


class Sample(NamedTuple):
    """One figure of a server while one of its handlers asked Redis."""

    server: str
    question: str  # a key of QUESTIONS
    what: str


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    server_cpus, _ = pinned()
    for server in shuffled(asking_redis(), 0):
        setting.say(server.name)
        with serving(setting, server, server_cpus) as running, contextlib.ExitStack() as stack:
            crowd = Crowd(running, OTHERS, b"!plain")
            stack.callback(crowd.close)
            asking = [stack.enter_context(running.connect())]
            meanwhile(crowd, asking, "wait", CONTROL_MS)  # connects the server to its Redis
            for block in range(setting.repetitions):
                for name in shuffled(QUESTIONS, block):
                    seen = meanwhile(crowd, asking, "wait", QUESTIONS[name])
                    for what, value in seen.items():
                        samples.setdefault(Sample(server.name, name, what), []).append(value)
    return samples


def decide(samples):
    for name in sorted({sample.server for sample in samples}):

        def found(question, what, name=name):
            return samples.get(Sample(name, question, what), ())

        words = f"{name}: with a driver of its framework a slow question stalls nobody"
        if name in PLAIN:
            words = f"{name}: with redis-py {PLAIN[name]} a slow question stalls everyone"
        one = part(
            words,
            found("slow", "share"),
            most=1,
            name="share of the others that waited 50 ms",
            beside=[
                figure("longest wait", found("slow", "longest"), "ms"),
                figure("the question was answered after", found("slow", "done"), "ms"),
            ],
            above=0.9 if name in PLAIN else None,
            below=None if name in PLAIN else 0.1,
        )
        control = found("control", "share")
        if not control or median(control) >= 0.1:
            one = replace(one, decision="not resolved")
        yield replace(one, decision="") if has_threads(name) else one
