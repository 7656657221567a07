"""A bad network in user space, for kernels without netem: stands between clients and a server.

Usage: shim.py DELAY_MS LOSS_PERCENT KBIT_S -- COMMAND. It adopts standard input as a contender
does, starts the command on a listening socket of its own and carries bytes both ways. A
lost packet is shown as TCP shows it to an application: nothing for 200 ms.
"""

import asyncio
import collections
import random
import socket
import subprocess
import sys
import time

RETRANSMISSION_S = 0.2
delay_ms, loss_percent, kbit_s = map(float, sys.argv[1:4])
inner = socket.create_server(("127.0.0.1", 0), backlog=4096)
server = subprocess.Popen(sys.argv[5:], stdin=inner.fileno())
free_at = [0.0, 0.0]  # when each direction of the one wire has sent all that waits for it


async def carry(reader, writer, direction):
    """Each chunk leaves after those before it, at the wire's rate, the delay later."""
    queue = collections.deque()
    come = asyncio.Event()

    async def deliver():
        while True:
            while not queue:
                come.clear()
                await come.wait()
            due, data = queue.popleft()
            await asyncio.sleep(due - time.monotonic())
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    task = asyncio.create_task(deliver())
    while True:
        data = await reader.read(1400)
        now = time.monotonic()
        on_wire_s = len(data) * 8 / (kbit_s * 1000) if kbit_s else 0.0
        free_at[direction] = max(free_at[direction], now) + on_wire_s
        lost_s = RETRANSMISSION_S if random.random() * 100 < loss_percent else 0.0
        queue.append((free_at[direction] + delay_ms / 1000 + lost_s, data))
        come.set()
        if not data:
            return await task


async def serve(reader, writer):
    far = await asyncio.open_connection(*inner.getsockname())
    try:
        await asyncio.gather(carry(reader, far[1], 0), carry(far[0], writer, 1))
    except OSError:
        pass  # one end has left
    finally:
        writer.close()
        far[1].close()


async def main():
    listener = socket.socket(fileno=0)
    await (await asyncio.start_server(serve, sock=listener, backlog=4096)).serve_forever()


asyncio.run(main())
