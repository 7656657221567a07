# /// script
# requires-python = ">=3.11"
# dependencies = ["uvloop>=0.22"]
# [tool.c10k]
# framework = "uvloop"
# title = "uvloop protocol"
# model = "callbacks"
# unit = "protocol object"
# tier = "variant"
# ///
"""Protocols of asyncio: callbacks, on uvloop's event loop (libuv).

The unit of concurrency is a protocol object. Control switches when a callback returns
to the loop, so none of them may wait. The API does not let the server choose how much to read.
"""

import asyncio
import socket

import uvloop


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):  # this client is slow to take its echo: read no more from it
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.socket(fileno=0)
    server = await loop.create_server(Echo, sock=listener, backlog=4096)
    await server.serve_forever()


uvloop.run(main())
