# /// script
# requires-python = ">=3.11"
# dependencies = ["trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio sockets"
# model = "structured concurrency"
# unit = "task"
# tier = "variant"
# ///
"""trio's sockets: one task per client, all in one nursery, no streams in between.

The unit of concurrency is a task. It switches at every await that touches the network,
even when the data is already there: each is a checkpoint, for fairness.
"""

import trio


async def echo(client):
    with client:
        try:
            while data := await client.recv(65536):
                while data:  # send takes what the kernel takes
                    data = data[await client.send(data) :]
        except OSError:
            pass  # this client left; uncaught, it would cancel the whole nursery


async def main():
    listener = trio.socket.socket(fileno=0)
    async with trio.open_nursery() as nursery:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError:  # out of descriptors: let a client leave first
                await trio.sleep(0.01)
                continue
            nursery.start_soon(echo, client)


trio.run(main)
