# /// script
# requires-python = ">=3.11"
# dependencies = ["trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio, collections counted"
# model = "structured concurrency"
# unit = "task"
# tier = "variant"
# ///
"""trio's streams, with the runs of Python's collector counted from within.

The unit of concurrency is a task. It switches at every await that touches the network,
even when the data is already there: each is a checkpoint, for fairness. Unlike the
canonical server, it notes when each run began and ended. At its end it writes to standard
error, which is kept with the trial, how many runs each generation had, and when those of
10 ms and longer were (CLOCK_MONOTONIC), to compare with the trial's stalls.
"""

import gc
import os
import signal
import sys
import time

import trio

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


async def echo(stream):
    try:
        async for data in stream:  # at most 64 KiB at a time
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # this client left; uncaught, it would cancel the whole nursery


async def main():
    listener = trio.SocketListener(trio.socket.socket(fileno=0))
    await trio.serve_listeners(echo, [listener])


gc.callbacks.append(watch)
signal.signal(signal.SIGTERM, report)
trio.run(main)
