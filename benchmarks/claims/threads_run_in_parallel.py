"""Threads run in parallel."""

import subprocess
import sys
import threading
import time
from typing import NamedTuple

from _loading import WORKING, ask, cores, serving, shuffled

from c10k.claims import figure, part
from c10k.declare import catalog

WORDS = "Threads run in parallel."
EXPERIMENT = """
threads_working, asked by four clients to compute for 5 ms of CPU time an answer: in Python, which
holds the interpreter's lock (hold), or in C code that releases it (free). Measured are the answers
per second on one core and on two.
"""
RULE = """
For each kind of work: supported when two cores give more than 1.5 times the answers of one,
refuted when fewer. With --python, the same is also measured on that interpreter (a free-threaded
one has no such lock). On a machine with one core: not resolved.
"""
CLIENTS, WORK_MS = 4, 5
SPEEDUP, RATES = "speedup", {1: "rate-1", 2: "rate-2"}  # cores → answers a second on them


class Sample(NamedTuple):
    """One figure of a kind of work."""

    work: str  # hold or free
    what: str
    interpreter: str = ""  # in words, if it is not the one that runs this


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    server = catalog.read(WORKING / "threads_working.py")
    if cores(2) is None:
        return samples
    for block in range(setting.repetitions):
        for python in filter(None, (sys.executable, setting.python)):
            where = "" if python == sys.executable else interpreter(python)
            for work in shuffled(("hold", "free"), block):
                setting.say(f"{' '.join(filter(None, (work, where)))}, repetition {block + 1}")
                rates = {}
                for count in shuffled((1, 2), block):
                    with serving(setting, server, cores(count), python) as running:
                        rates[count] = rate(running, work, 1.0)
                    samples.setdefault(Sample(work, RATES[count], where), []).append(rates[count])
                speedup = rates[2] / rates[1]
                samples.setdefault(Sample(work, SPEEDUP, where), []).append(speedup)
    return samples


def interpreter(python):
    """An interpreter in words: its version, and whether its lock is on."""
    says = (
        "import sys; print(sys.version.split()[0], 'without the lock' if not "
        "getattr(sys, '_is_gil_enabled', lambda: True)() else 'with the lock')"
    )
    return subprocess.run(
        [python, "-c", says], capture_output=True, text=True, check=True
    ).stdout.strip()


def rate(running, work, seconds):
    """Answers per second that all clients got together."""
    answers, begin = [], threading.Barrier(CLIENTS)

    def asking():
        with running.connect() as client:
            ask(client, work, WORK_MS)
            begin.wait()
            start, count = time.perf_counter(), 0
            while (now := time.perf_counter()) < start + seconds:
                ask(client, work, WORK_MS)
                count += 1
            answers.append(count / (now - start))

    clients = [threading.Thread(target=asking) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if len(answers) < CLIENTS:
        raise RuntimeError(f"{CLIENTS - len(answers)} of {CLIENTS} clients lost their connection")
    return sum(answers)


def decide(samples):
    in_words = {"hold": "holds the interpreter's lock", "free": "releases the interpreter's lock"}
    for (work, what, where), values in samples.items():
        if what != SPEEDUP:
            continue
        on = f" on {where}" if where else ""
        yield part(
            f"a handler that {in_words[work]} runs in parallel{on}",
            values,
            above=1.5,
            name="answers on two cores over those on one",
            unit="×",
            beside=[
                figure(f"on {count}", samples.get(Sample(work, rate, where), ()), "answers/s")
                for count, rate in RATES.items()
            ],
        )
