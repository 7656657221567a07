# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "no back-pressure"
# model = "callbacks"
# unit = "protocol object"
# tier = "variant"
# ///
"""Goes on reading from a client that reads nothing; the buffer grows with it."""

import asyncio
import socket


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, sock=socket.socket(fileno=0), backlog=4096)
    await server.serve_forever()


asyncio.run(main())
