# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio, start-up frozen"
# model = "coroutines"
# unit = "task"
# tier = "tuned"
# ///
"""Streams of asyncio, with what start-up made kept from the collector (gc.freeze).

The unit of concurrency is a task. It switches at await: in read when nothing has
arrived, in drain when this client is slow to take its echo. A full collection of Python's
collector looks through all objects, and no client is served meanwhile. Here the objects
that exist before the first client (modules, the loop) are set aside once, unlike in the
canonical server. Those of clients are not.
"""

import asyncio
import gc
import socket


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
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    gc.collect()
    gc.freeze()
    await server.serve_forever()


asyncio.run(main())
