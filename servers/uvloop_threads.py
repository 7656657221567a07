# /// script
# requires-python = ">=3.11"
# dependencies = ["uvloop>=0.22"]
# [tool.c10k]
# framework = "uvloop"
# title = "uvloop, a loop per core"
# model = "coroutines on several loops"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio on one event loop per core, each in a thread; all accept from one listener.

The unit of concurrency is a task, and it stays on the loop that accepted its client. It
switches at await: in read when nothing has arrived, in drain when this client is slow to take
its echo. After https://docs.python.org/3/library/asyncio-threading.html: the loops run in
parallel where Python has no global lock, and by turns where it has one. All loops wake for a
client, and one gets it. Which loop that is the kernel does not balance.
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


async def main():
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    await server.serve_forever()


def run_loop():
    uvloop.run(main())


listener = socket.socket(fileno=0)
threads = [threading.Thread(target=run_loop) for _ in os.sched_getaffinity(0)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
