# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio, 1 accept a turn"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio, whose loop accepts at most one client in a turn.

The unit of concurrency is a task. It switches at await: in read when nothing has arrived,
in drain when this client is slow to take its echo. asyncio takes `backlog` for two things,
the accept queue's length and how many clients it accepts in a turn: 4,096 in
asyncio_streams. Here the second is 1, and the first is set again afterwards.
"""

import asyncio
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
    server = await asyncio.start_server(echo, sock=listener, backlog=1)
    listener.listen(4096)
    await server.serve_forever()


asyncio.run(main())
