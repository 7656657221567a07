# /// script
# requires-python = ">=3.11"
# dependencies = ["trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio, TLS"
# model = "structured concurrency"
# unit = "task"
# tier = "tls"
# tls = true
# ///
"""trio's streams over TLS: one task per client, all in one nursery.

The unit of concurrency is a task. It switches at every await that touches the network,
even when the data is already there; the first one makes the handshake.
"""

import os
import ssl

import trio

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(os.environ["C10K_CERTIFICATE"], os.environ["C10K_KEY"])


async def echo(stream):
    try:
        async for data in stream:  # at most 64 KiB at a time
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # this client left; uncaught, it would cancel the whole nursery


async def main():
    listener = trio.SocketListener(trio.socket.socket(fileno=0))
    await trio.serve_listeners(echo, [trio.SSLListener(listener, context)])


trio.run(main)
