"""asyncio: tasks. The same functions serve uvloop, which changes the loop only."""

import asyncio
import os
import signal
import socket
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from . import _coroutines


def run(main):
    """Runs a coroutine function on a loop of its own."""
    return asyncio.run(main())


async def _nothing():
    pass


async def spawn_join(timed, n):
    with timed:
        tasks = [asyncio.create_task(_nothing()) for _ in range(n)]
        for task in tasks:
            await task
    assert all(task.done() for task in tasks)


async def ping_pong(timed, n):
    ping, pong, hits = asyncio.Event(), asyncio.Event(), 0

    async def other():
        nonlocal hits
        for _ in range(n):
            await ping.wait()
            ping.clear()
            hits += 1
            pong.set()

    partner = asyncio.create_task(other())
    await asyncio.sleep(0)
    with timed:
        for _ in range(n):
            ping.set()
            await pong.wait()
            pong.clear()
    await partner
    assert hits == n


async def sleepers(timed, n):
    woken = []

    async def sleep():
        await asyncio.sleep(0.01)
        woken.append(1)

    with timed:
        tasks = [asyncio.create_task(sleep()) for _ in range(n)]
        for task in tasks:
            await task
    assert len(woken) == n


async def event_wake(timed, n):
    event, woken = asyncio.Event(), 0

    async def waiter():
        nonlocal woken
        while woken < n:
            await event.wait()
            event.clear()
            woken += 1

    task = asyncio.create_task(waiter())
    await asyncio.sleep(0)
    with timed:
        for count in range(1, n + 1):
            event.set()
            while woken < count:
                await asyncio.sleep(0)
    await task
    assert woken == n


async def queue_pass(timed, n):
    queue, got = asyncio.Queue(16), []

    async def consume():
        for _ in range(n):
            got.append(await queue.get())

    consumer = asyncio.create_task(consume())
    with timed:
        for item in range(n):
            await queue.put(item)
        await consumer
    assert got == list(range(n))


async def lock_free(timed, n):
    lock = asyncio.Lock()
    with timed:
        for _ in range(n):
            async with lock:
                pass
    assert not lock.locked()


async def lock_contended(timed, n):
    want, seen = _coroutines.wanting(asyncio.Lock(), asyncio.sleep, n // 10)
    with timed:
        await asyncio.gather(*(want() for _ in range(10)))
    assert seen() == (1, n // 10 * 10)


async def cancel(timed, n):
    tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(n)]
    await asyncio.sleep(0)
    with timed:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)


async def timeout(timed, n):
    done = 0
    with timed:
        for _ in range(n):
            async with asyncio.timeout(60):
                done += 1
    assert done == n


yield_now = partial(_coroutines.yield_now, asyncio.sleep)
delegate = _coroutines.delegate
resume = partial(_coroutines.resume, asyncio.sleep)


async def thread_call(timed, n):
    await _coroutines.calls(timed, n, asyncio.to_thread)


async def process_call(timed, n):
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1) as pool:
        await _coroutines.calls(timed, n, partial(loop.run_in_executor, pool))


async def _echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _trips(timed, n, reader, writer):
    with timed:
        for number in range(n):
            message = b"%07d\n" % number
            writer.write(message)
            assert await reader.readexactly(8) == message


async def pipe_trip(timed, n):
    async def ends():
        loop = asyncio.get_running_loop()
        there, back = os.pipe(), os.pipe()
        opened = []
        for read, write in ((there[0], back[1]), (back[0], there[1])):
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            await loop.connect_read_pipe(lambda p=protocol: p, os.fdopen(read, "rb", 0))
            transport, other = await loop.connect_write_pipe(
                asyncio.streams.FlowControlMixin, os.fdopen(write, "wb", 0)
            )
            opened.append((reader, asyncio.StreamWriter(transport, other, None, loop)))
        return opened

    (reader, writer), mine = await ends()
    echo = asyncio.create_task(_echo(reader, writer))
    await _trips(timed, n, *mine)
    mine[1].close()
    await echo


async def subprocess_echo(timed, n):
    cat = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    await _trips(timed, n, cat.stdout, cat.stdin)
    cat.stdin.close()
    assert await cat.wait() == 0


async def signal_wake(timed, n):
    loop, came, event = asyncio.get_running_loop(), 0, asyncio.Event()

    def handle():
        nonlocal came
        came += 1
        event.set()

    loop.add_signal_handler(signal.SIGUSR1, handle)
    with timed:
        for _ in range(n):
            os.kill(os.getpid(), signal.SIGUSR1)
            await event.wait()
            event.clear()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert came == n


async def unix_trip(timed, n):
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        server = await asyncio.start_unix_server(_echo, path)
        reader, writer = await asyncio.open_unix_connection(path)
        await _trips(timed, n, reader, writer)
        writer.close()
        server.close()


async def tcp_trip(timed, n):
    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(_echo, sock=listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    await _trips(timed, n, reader, writer)
    writer.close()
    server.close()


async def hold(n, measure):
    """Calls measure() before and while n units wait."""
    measure()
    tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(n)]
    await asyncio.sleep(0)
    measure()
    for task in tasks:
        task.cancel()
