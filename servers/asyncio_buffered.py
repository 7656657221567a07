# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio buffered protocol"
# model = "callbacks"
# unit = "protocol object"
# tier = "variant"
# ///
"""Buffered protocols of asyncio: callbacks, and a buffer of the server's own to read into.

The unit of concurrency is a protocol object. Control switches when a callback returns
to the loop, so none of them may wait. After
https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols.
"""

import asyncio
import socket


class Echo(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(65536)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        # A copy: what cannot be sent yet must not change when the next bytes are read.
        self.transport.write(self.buffer[:nbytes])

    def pause_writing(self):  # this client is slow to take its echo: read no more from it
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.socket(fileno=0)
    server = await loop.create_server(Echo, sock=listener, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
