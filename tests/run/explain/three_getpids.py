# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "three getpids"
# model = "callbacks"
# unit = "protocol object"
# tier = "variant"
# ///
"""Asks the kernel three times for its own number, for each message."""

import asyncio
import ctypes
import socket

libc = ctypes.CDLL(None)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        for _ in range(3):
            libc.getpid()
        self.transport.write(data)


async def main():
    listener = socket.socket(fileno=0)
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
    await server.serve_forever()


asyncio.run(main())
