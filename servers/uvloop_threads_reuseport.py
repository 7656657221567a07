# /// script
# requires-python = ">=3.11"
# dependencies = ["uvloop>=0.22"]
# [tool.c10k]
# framework = "uvloop"
# title = "uvloop, a loop and a listener per core"
# model = "coroutines on several loops"
# unit = "task"
# tier = "variant"
# reuseport = true
# ///
"""Streams of asyncio on one event loop per core, each in a thread with a listener of its own.

The unit of concurrency is a task, and it stays on the loop that accepted its client. It
switches at await: in read when nothing has arrived, in drain when this client is slow to take
its echo. After https://docs.python.org/3/library/asyncio-threading.html: the loops run in
parallel where Python has no global lock, and by turns where it has one. The first listener is
the one that was given, and the others are bound to its address with SO_REUSEPORT: the kernel
draws one of them for each client. A UNIX socket cannot be shared so, and all accept from it.
The suite sees the accept queue of the first only.
"""

import asyncio
import os
import socket
import threading

import uvloop


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # this client left
    finally:
        writer.close()


async def main(listener):
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    await server.serve_forever()


def another(first):
    if first.family == socket.AF_UNIX:
        return first
    options = {"family": first.family, "backlog": 4096, "reuse_port": True}
    listener = socket.create_server(first.getsockname(), **options)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def run_loop(listener):
    uvloop.run(main(listener))


first = socket.socket(fileno=0)
listeners = [first, *(another(first) for _ in range(len(os.sched_getaffinity(0)) - 1))]
threads = [threading.Thread(target=run_loop, args=(each,)) for each in listeners]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
