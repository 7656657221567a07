# /// script
# requires-python = ">=3.12"
# dependencies = []
# [tool.c10k]
# title = "asyncio, eager tasks"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio, whose tasks start at once: the eager task factory of Python 3.12.

The unit of concurrency is a task. It runs from its creation to its first await that must wait
without a turn of the loop, and then switches as in asyncio_streams: in read when nothing has
arrived, in drain when this client is slow to take its echo. After
https://docs.python.org/3/library/asyncio-task.html#eager-task-factory.
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
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    listener = socket.socket(fileno=0)
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
