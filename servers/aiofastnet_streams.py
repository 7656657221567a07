# /// script
# requires-python = ">=3.11"
# dependencies = ["aiofastnet>=1.2"]
# [tool.c10k]
# framework = "aiofastnet"
# title = "aiofastnet"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio: one coroutine per client, over aiofastnet's transports (Cython).

The unit of concurrency is a task. It switches at await: in read when nothing has
arrived, in drain when this client is slow to take its echo. The event loop is asyncio's
own; install_policy replaces what moves the bytes, as the first example of
https://pypi.org/project/aiofastnet/ does.
"""

import asyncio
import socket

import aiofastnet


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


aiofastnet.install_policy()
asyncio.run(main())
