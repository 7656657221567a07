# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio, TLS"
# model = "coroutines"
# unit = "task"
# tier = "tls"
# tls = true
# ///
"""Streams of asyncio over TLS: one coroutine per client, on asyncio's own event loop.

The unit of concurrency is a task, which starts after the handshake. It switches at await:
in read when nothing has arrived, in drain when this client is slow to take its echo.
"""

import asyncio
import os
import socket
import ssl

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(os.environ["C10K_CERTIFICATE"], os.environ["C10K_KEY"])


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
    server = await asyncio.start_server(echo, sock=listener, ssl=context, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
