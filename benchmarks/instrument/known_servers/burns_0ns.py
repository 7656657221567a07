# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asyncio, burning"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# ///
"""servers/asyncio_streams.py that burns as many more ns per message as its file name states.

Links under other names (burns_450ns.py) are the same file. It burns once for every
thousand messages: the client falls asleep while the server burns, and waking it costs the
server some µs more, which is nothing beside a long burn and a ninth of a short one.
"""

import asyncio
import itertools
import re
import socket
from pathlib import Path
from time import perf_counter_ns as clock

EVERY = 1000
BURN_NS = int(re.search(r"(\d+)ns$", Path(__file__).stem)[1]) * EVERY
messages = itertools.count(1)


def burn():
    """Keeps the core busy, whatever its frequency."""
    end_ns = clock() + BURN_NS
    while clock() < end_ns:
        pass


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            if next(messages) % EVERY == 0:
                burn()
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


asyncio.run(main())
