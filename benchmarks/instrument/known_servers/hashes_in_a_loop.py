# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio that hashes"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""Hashes 1 MiB for each message that it echoes, on an event loop.

The loop does one thing at a time, so it keeps one core busy, however many the server may use.
"""

import asyncio
import contextlib
import hashlib
import socket

BUFFER = bytes(1 << 20)


async def echo(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            hashlib.sha256(BUFFER)
            writer.write(data)
            await writer.drain()
    writer.close()


async def main():
    listener = socket.socket(fileno=0)
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
