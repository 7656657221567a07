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
# notes = [{ python = ">=3.14", text = "tonio 0.10 can end when it is stopped and continued" }]
# ///
"""tonio's streams: one coroutine per client, on a runtime with one thread per core (Rust, mio).

The unit of concurrency is a coroutine of the runtime, which is not asyncio's. It switches at
await when a socket is not ready, and goes on in whichever thread is free: this is one pool for
all clients, not one loop per thread. After https://github.com/gi0baro/tonio, whose runtime
needs an interpreter without the global lock. It can end when the process was stopped and
continues, as the kit has it do: a signal must reach the thread that waits for the sockets.
"""

import os
import signal
import socket

import tonio.colored as tonio
from tonio.colored.net import SocketListener, serve_listeners
from tonio.colored.net.socket import SocketType
from tonio.colored.signals import signal_receiver


async def echo(stream):
    with stream:
        try:
            while data := await stream.receive_some(65536):
                await stream.send_all(data)
        except OSError:
            pass  # this client left


async def main():
    listener = SocketType(socket.socket(fileno=0))
    with signal_receiver(signal.SIGCONT):  # unheard, it ends the runtime
        await serve_listeners(echo, [SocketListener(listener)])


# Its default is all cores of the machine, also those that this process may not use.
tonio.run(main(), threads=len(os.sched_getaffinity(0)), signals=[signal.SIGCONT])
