# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio, collections counted"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio, with the runs of Python's collector counted from within.

The unit of concurrency is a task. It switches at await: in read when nothing has
arrived, in drain when this client is slow to take its echo. Unlike the canonical
server, it notes when each run began and ended. At its end it writes to standard error,
which is kept with the trial, how many runs each generation had, and when those of 10 ms
and longer were (CLOCK_MONOTONIC), to compare with the trial's stalls.
"""

import asyncio
import gc
import os
import signal
import socket
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


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # this client left
    finally:
        writer.close()


async def main():
    listener = socket.socket(fileno=0)
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    await server.serve_forever()


gc.callbacks.append(watch)
signal.signal(signal.SIGTERM, report)
asyncio.run(main())
