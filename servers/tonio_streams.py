# /// script
# requires-python = ">=3.14"
# dependencies = ["tonio>=0.10"]
# [tool.c10k]
# framework = "tonio"
# title = "tonio"
# model = "coroutines on several threads"
# unit = "coroutine"
# tier = "variant"
# python = "3.14t"
# free_threaded = true
# ///
"""tonio's streams: one coroutine per client, on a runtime with one thread per core (Rust, mio).

The unit of concurrency is a coroutine of the runtime, which is not asyncio's. It switches at
await when a socket is not ready, and goes on in whichever thread is free: this is one pool for
all clients, not one loop per thread. After https://github.com/gi0baro/tonio, whose runtime
needs an interpreter without the global lock.
"""

import os
import socket

import tonio.colored as tonio
from tonio.colored.net import SocketListener, serve_listeners
from tonio.colored.net.socket import SocketType


async def echo(stream):
    with stream:
        try:
            while data := await stream.receive_some(65536):
                await stream.send_all(data)
        except OSError:
            pass  # this client left


async def main():
    listener = SocketType(socket.socket(fileno=0))
    await serve_listeners(echo, [SocketListener(listener)])


# Its default is all cores of the machine, also those that this process may not use.
tonio.run(main(), threads=len(os.sched_getaffinity(0)))
