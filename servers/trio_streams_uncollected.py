# /// script
# requires-python = ">=3.11"
# dependencies = ["trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio, collector off"
# model = "structured concurrency"
# unit = "task"
# tier = "variant"
# ///
"""trio's streams, with Python's collector off.

The unit of concurrency is a task. It switches at every await that touches the network,
even when the data is already there: each is a checkpoint, for fairness. Unlike the
canonical server, it is never stopped by a full collection. Reference cycles are never
freed, so this shows what the collector costs; it is not a way to serve for long.
"""

import gc

import trio


async def echo(stream):
    try:
        async for data in stream:  # at most 64 KiB at a time
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # this client left; uncaught, it would cancel the whole nursery


async def main():
    listener = trio.SocketListener(trio.socket.socket(fileno=0))
    await trio.serve_listeners(echo, [listener])


gc.disable()
trio.run(main)
