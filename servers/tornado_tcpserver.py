# /// script
# requires-python = ">=3.11"
# dependencies = ["tornado>=6.5"]
# [tool.c10k]
# framework = "tornado"
# title = "tornado"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""tornado's TCPServer: one coroutine per client, reading and writing an IOStream.

The unit of concurrency is a task of asyncio, on whose loop tornado runs. It switches at
await: in read_bytes when nothing has arrived, in write until this client has taken its
echo. After the echo server of https://www.tornadoweb.org/en/stable/tcpserver.html.
"""

import asyncio
import socket

from tornado.iostream import StreamClosedError
from tornado.tcpserver import TCPServer


class EchoServer(TCPServer):
    async def handle_stream(self, stream, address):
        try:
            while True:
                data = await stream.read_bytes(65536, partial=True)
                await stream.write(data)
        except StreamClosedError:
            pass  # this client left


async def main():
    listener = socket.socket(fileno=0)
    listener.setblocking(False)  # add_socket takes it as it is
    EchoServer().add_socket(listener)
    await asyncio.Event().wait()


asyncio.run(main())
