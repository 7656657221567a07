# /// script
# requires-python = ">=3.11"
# dependencies = ["trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio"
# model = "structured concurrency"
# unit = "task"
# tier = "canonical"
# ///
"""trio's streams: one task per client, all in one nursery that serve_listeners holds.

The unit of concurrency is a task. It switches at every await that touches the network,
even when the data is already there: each is a checkpoint, for fairness.
"""

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


trio.run(main)
