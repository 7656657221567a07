# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio sockets"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""The socket calls of asyncio's loop: one coroutine per client, no streams in between.

The unit of concurrency is a task. It switches at await, when a socket would have to wait.
"""

import asyncio
import socket


async def echo(loop, client):
    with client:
        try:
            while data := await loop.sock_recv(client, 65536):
                await loop.sock_sendall(client, data)
        except OSError:
            pass  # this client left


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.socket(fileno=0)
    listener.setblocking(False)
    tasks = set()  # the loop itself keeps only weak references to them
    while True:
        try:
            client, _ = await loop.sock_accept(listener)
        except OSError:  # out of descriptors: let a client leave first
            await asyncio.sleep(0.01)
            continue
        task = loop.create_task(echo(loop, client))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
