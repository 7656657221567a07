# /// script
# requires-python = ">=3.14"
# dependencies = ["zuvloop>=0.0.17"]
# [tool.c10k]
# framework = "zuvloop"
# title = "zuvloop"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio: one coroutine per client, on zuvloop's event loop (Zig, libuv).

The unit of concurrency is a task. It switches at await: in read when nothing has
arrived, in drain when this client is slow to take its echo. The loop is that of
https://github.com/Kludex/zuvloop, which runs with the interpreter's lock and without it.
"""

import asyncio
import socket

import zuvloop


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


zuvloop.run(main())
