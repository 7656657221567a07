# /// script
# requires-python = ">=3.11"
# dependencies = ["anyio>=4.12"]
# [tool.c10k]
# framework = "anyio"
# title = "anyio on asyncio"
# model = "structured concurrency"
# unit = "task"
# tier = "variant"
# ///
"""anyio's sockets on asyncio: one task per client, all in one task group.

The unit of concurrency is a task. It switches at every await, even when the data is
already there: each is a checkpoint. After the echo server of
https://anyio.readthedocs.io/en/stable/networking.html.
"""

import socket

import anyio
from anyio.abc import SocketListener


async def echo(stream):
    async with stream:
        try:
            async for data in stream:  # at most 64 KiB at a time
                await stream.send(data)
        except anyio.BrokenResourceError:
            pass  # this client left; uncaught, it would cancel the whole group


async def main():
    listener = await SocketListener.from_socket(socket.socket(fileno=0))
    async with anyio.create_task_group() as clients:
        while True:
            try:
                await listener.serve(echo, clients)
            except (OSError, anyio.BrokenResourceError):  # out of descriptors: wait for some
                await anyio.sleep(0.01)


anyio.run(main, backend="asyncio")
