# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio, collector off"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio, with Python's collector off.

The unit of concurrency is a task. It switches at await: in read when nothing has
arrived, in drain when this client is slow to take its echo. Unlike the canonical
server, it is never stopped by a full collection. Reference cycles are never freed, so this
shows what the collector costs; it is not a way to serve for long.
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
    await server.serve_forever()


gc.disable()
asyncio.run(main())
