"""Planted: false, and measured."""

import time

from c10k.claims import part

WORDS = "A sleep of 2 ms takes less than 1 ms."
EXPERIMENT = "Sleep, and look at the clock."
RULE = "Supported when it took less than 1 ms, refuted when more."


def measure(setting):
    took = []
    for _ in range(setting.repetitions):
        setting.say("sleeping")
        start = time.perf_counter()
        time.sleep(0.002)
        took.append((time.perf_counter() - start) * 1000)
    return {"took": took}


def decide(samples):
    yield part("less than 1 ms", samples["took"], below=1.0, unit="ms")
