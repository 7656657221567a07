# /// script
# requires-python = ">=3.11"
# dependencies = ["rsloop>=0.1.66"]
# [tool.c10k]
# framework = "rsloop"
# title = "rsloop"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# glibc = ">=2.39"
# ///
"""Streams of asyncio: one coroutine per client, on rsloop's event loop (Rust, io_uring).

The unit of concurrency is a task. It switches at await: in read when nothing has
arrived, in drain when this client is slow to take its echo. The loop is that of
https://github.com/RustedBytes/rsloop, which reads in a thread of its own beside the loop's.
"""

import asyncio
import socket

import rsloop


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


rsloop.run(main())
