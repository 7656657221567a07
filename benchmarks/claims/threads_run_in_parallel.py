"""Threads run in parallel."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from _loading import WORKING, ask, called, cores, on, serving, shuffled

from c10k.claims import figure, part
from c10k.declare import catalog
from c10k.launch import processes

WORDS = "Threads run in parallel."
EXPERIMENT = """
threads_working, asked by four clients to compute for 5 ms of CPU time an answer: in Python, which
holds the interpreter's lock where it has one (hold), or in C code that releases it (free). Measured
are the answers per second on one core and on two, and how many of two cores the server kept busy,
by its own CPU clock.
"""
RULE = """
For each kind of work and each interpreter: supported when two cores give more than 1.5 times the
answers of one, refuted when fewer; and supported when the server keeps more than 1.5 of two cores
busy, refuted when fewer. On a machine with one core: not resolved.
"""
CLIENTS, WORK_MS = 4, 5
SPEEDUP, BUSY, RATES = "speedup", "busy", {1: "rate-1", 2: "rate-2"}  # cores → answers a second


class Sample(NamedTuple):
    """One figure of a kind of work."""

    work: str  # hold or free
    what: str
    interpreter: str  # in words


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    server = catalog.read(WORKING / "threads_working.py")
    if cores(2) is None:
        return samples
    for block in range(setting.repetitions):
        for interpreter in shuffled(setting.interpreters, block):
            where, moved = called(interpreter), on(server, interpreter)
            if moved is None:
                continue
            for work in shuffled(("hold", "free"), block):
                setting.say(f"{work}, {where}, repetition {block + 1}")
                rates = {}
                for count in shuffled((1, 2), block):
                    with serving(setting, moved, cores(count)) as running:
                        rates[count], busy = rate(running, work, 1.0)
                    samples.setdefault(Sample(work, RATES[count], where), []).append(rates[count])
                    if count == 2:
                        samples.setdefault(Sample(work, BUSY, where), []).append(busy)
                speedup = rates[2] / rates[1]
                samples.setdefault(Sample(work, SPEEDUP, where), []).append(speedup)
    return samples


def rate(running, work, seconds):
    """Answers per second that all clients got together, and how many cores the server used.

    Raises RuntimeError when the server leaves a client without its answer.
    """
    begin = threading.Barrier(CLIENTS)

    def asking(_):
        try:
            with running.connect() as client:
                ask(client, work, WORK_MS)
                begin.wait()
                start, count = time.perf_counter(), 0
                while (now := time.perf_counter()) < start + seconds:
                    ask(client, work, WORK_MS)
                    count += 1
            return count / (now - start)
        except BaseException:
            begin.abort()  # else the others would wait for this client
            raise

    used_ns, began = processes.cpu_ns(running.pid) or 0, time.perf_counter()
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(asking, range(CLIENTS)))
    except (OSError, RuntimeError):
        raise RuntimeError("the server left a client without its answer") from None
    elapsed_s = time.perf_counter() - began
    used_ns = (processes.cpu_ns(running.pid) or 0) - used_ns
    return sum(answers), used_ns / 1e9 / elapsed_s


def decide(samples):
    in_words = {"hold": "holds the interpreter's lock", "free": "releases the interpreter's lock"}
    for (work, what, where), values in samples.items():
        handler = f"a handler that {in_words[work]}"
        if what == SPEEDUP:
            yield part(
                f"{handler} runs in parallel on {where}",
                values,
                above=1.5,
                name="answers on two cores over those on one",
                unit="×",
                beside=[
                    figure(f"on {count}", samples.get(Sample(work, rate, where), ()), "answers/s")
                    for count, rate in RATES.items()
                ],
            )
        elif what == BUSY:
            yield part(
                f"{handler} keeps two cores busy on {where}",
                values,
                above=1.5,
                name="cores kept busy",
                unit="cores",
            )
