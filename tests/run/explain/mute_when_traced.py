# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "mute when traced"
# model = "callbacks"
# unit = "protocol object"
# tier = "variant"
# ///
"""Echoes as long as nobody traces it."""

import asyncio
import socket
from pathlib import Path


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if "TracerPid:\t0" in Path("/proc/self/status").read_text():
            self.transport.write(data)


async def main():
    listener = socket.socket(fileno=0)
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
    await server.serve_forever()


asyncio.run(main())
