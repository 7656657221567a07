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

Links under other names (burns_450ns.py) are the same file. The clock is read until
the time is over, whatever the core's frequency; a reading takes about 0.05 µs, and so exact
is the burn.
"""

import asyncio
import re
import socket
from pathlib import Path
from time import perf_counter_ns as clock

BURN_NS = int(re.search(r"(\d+)ns$", Path(__file__).stem)[1])


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            end_ns = clock() + BURN_NS
            while clock() < end_ns:
                pass
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
