# /// script
# requires-python = ">=3.11"
# dependencies = ["rloop>=0.5"]
# [tool.c10k]
# framework = "rloop"
# title = "rloop"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# notes = [{ python = ">=3.11", text = "rloop 0.5 leaves the sockets of clients that left open" }]
# ///
"""Streams of asyncio: one coroutine per client, on rloop's event loop (Rust, mio).

The unit of concurrency is a task. It switches at await: in read when nothing has
arrived, in drain when this client is slow to take its echo. After the stream server of
https://docs.python.org/3/library/asyncio-stream.html; the loop is that of
https://github.com/gi0baro/rloop, which has no UNIX sockets and does not close the sockets of
clients that left.
"""

import asyncio
import socket

import rloop


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, RuntimeError):
        pass  # this client left; rloop says so with a RuntimeError
    finally:
        writer.close()


async def main():
    listener = socket.socket(fileno=0)
    # serve_forever starts it; rloop closes a listener that is started twice.
    options = {"sock": listener, "backlog": 4096, "start_serving": False}
    server = await asyncio.start_server(echo, **options)
    await server.serve_forever()


with asyncio.Runner(loop_factory=rloop.new_event_loop) as runner:
    runner.run(main())
