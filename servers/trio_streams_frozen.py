# /// script
# requires-python = ">=3.11"
# dependencies = ["trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio, start-up frozen"
# model = "structured concurrency"
# unit = "task"
# tier = "tuned"
# ///
"""trio's streams, with what start-up made kept from the collector (gc.freeze).

The unit of concurrency is a task. It switches at every await that touches the network,
even when the data is already there: each is a checkpoint, for fairness. A full
collection of Python's collector looks through all objects, and no client is served
meanwhile. Here the objects that exist before the first client (modules, the loop) are set
aside once, unlike in the canonical server. Those of clients are not.
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
    gc.collect()
    gc.freeze()
    await trio.serve_listeners(echo, [listener])


trio.run(main)
