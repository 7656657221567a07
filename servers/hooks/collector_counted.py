"""The runs of Python's collector are counted from within, and told when the server ends.

At SIGTERM the server writes to standard error, which is kept with the trial, how many runs each
generation had, and when those of 10 ms and longer were (CLOCK_MONOTONIC), to compare with the
trial's stalls. It is for servers that leave SIGTERM alone: asyncio and trio do.
"""

import gc
import os
import signal
import sys
import time

runs, spent_ms, long = [0, 0, 0], [0.0, 0.0, 0.0], []  # of each generation; 10 ms or longer
last_ns = {}


def watch(phase, info):
    last_ns[phase] = time.monotonic_ns()
    if phase == "stop":
        took_ms = (last_ns["stop"] - last_ns["start"]) / 1e6
        generation = info["generation"]
        runs[generation] += 1
        spent_ms[generation] += took_ms
        if took_ms >= 10:
            at_s = last_ns["start"] / 1e9
            long.append(f"at {at_s:.3f} s: generation {generation}, {took_ms:.1f} ms")


def report(*_):
    said = f"runs of generations 0, 1, 2: {runs}, ms in them: {[round(ms) for ms in spent_ms]}"
    print(said, *long, sep="\n", file=sys.stderr)
    os._exit(0)


gc.callbacks.append(watch)
signal.signal(signal.SIGTERM, report)
