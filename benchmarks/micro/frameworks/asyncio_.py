"""asyncio: tasks. The same functions serve uvloop, which changes the loop only."""

import asyncio
import os
import signal
import socket
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter as clock

run = asyncio.run


async def _nothing():
    pass


def spawn_join(n):
    async def main():
        start = clock()
        tasks = [asyncio.create_task(_nothing()) for _ in range(n)]
        for task in tasks:
            await task
        took = clock() - start
        assert all(task.done() for task in tasks)
        return took

    return run(main())


def ping_pong(n):
    async def main():
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
        start = clock()
        for _ in range(n):
            ping.set()
            await pong.wait()
            pong.clear()
        took = clock() - start
        await partner
        assert hits == n
        return took

    return run(main())


def yield_now(n):
    async def main():
        start = clock()
        for _ in range(n):
            await asyncio.sleep(0)
        return clock() - start

    return run(main())


def sleepers(n):
    async def main():
        woken = []

        async def sleep():
            await asyncio.sleep(0.01)
            woken.append(1)

        start = clock()
        tasks = [asyncio.create_task(sleep()) for _ in range(n)]
        for task in tasks:
            await task
        took = clock() - start
        assert len(woken) == n
        return took

    return run(main())


def event_wake(n):
    async def main():
        event, woken = asyncio.Event(), 0

        async def waiter():
            nonlocal woken
            while woken < n:
                await event.wait()
                event.clear()
                woken += 1

        task = asyncio.create_task(waiter())
        await asyncio.sleep(0)
        start = clock()
        for count in range(1, n + 1):
            event.set()
            while woken < count:
                await asyncio.sleep(0)
        took = clock() - start
        await task
        assert woken == n
        return took

    return run(main())


def queue_pass(n):
    async def main():
        queue, got = asyncio.Queue(16), []

        async def consume():
            for _ in range(n):
                got.append(await queue.get())

        consumer = asyncio.create_task(consume())
        start = clock()
        for item in range(n):
            await queue.put(item)
        await consumer
        took = clock() - start
        assert got == list(range(n))
        return took

    return run(main())


def lock_free(n):
    async def main():
        lock = asyncio.Lock()
        start = clock()
        for _ in range(n):
            async with lock:
                pass
        took = clock() - start
        assert not lock.locked()
        return took

    return run(main())


def lock_contended(n):
    async def main():
        lock, inside, most, total = asyncio.Lock(), 0, 0, 0

        async def want():
            nonlocal inside, most, total
            for _ in range(n // 10):
                async with lock:
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1
                    total += 1

        start = clock()
        await asyncio.gather(*(want() for _ in range(10)))
        took = clock() - start
        assert (most, total) == (1, n // 10 * 10)
        return took

    return run(main())


def cancel(n):
    async def main():
        tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(n)]
        await asyncio.sleep(0)
        start = clock()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        took = clock() - start
        assert all(task.cancelled() for task in tasks)
        return took

    return run(main())


def timeout(n):
    async def main():
        done = 0
        start = clock()
        for _ in range(n):
            async with asyncio.timeout(60):
                done += 1
        took = clock() - start
        assert done == n
        return took

    return run(main())


def delegate(n, depth):
    async def chain(levels):
        return 1 if levels == 0 else await chain(levels - 1)

    async def main():
        total = 0
        start = clock()
        for _ in range(n):
            total += await chain(depth)
        took = clock() - start
        assert total == n
        return took

    return run(main())


def resume(n, depth):
    async def chain(levels):
        if levels:
            return await chain(levels - 1)
        for _ in range(n):
            await asyncio.sleep(0)
        return n

    async def main():
        start = clock()
        resumed = await chain(depth)
        took = clock() - start
        assert resumed == n
        return took

    return run(main())


def thread_call(n):
    async def main():
        await asyncio.to_thread(int)  # the pool is there
        total = 0
        start = clock()
        for _ in range(n):
            total += await asyncio.to_thread(abs, -1)
        took = clock() - start
        assert total == n
        return took

    return run(main())


def process_call(n):
    async def main():
        loop, total = asyncio.get_running_loop(), 0
        with ProcessPoolExecutor(1) as pool:
            await loop.run_in_executor(pool, abs, -1)
            start = clock()
            for _ in range(n):
                total += await loop.run_in_executor(pool, abs, -1)
            took = clock() - start
        assert total == n
        return took

    return run(main())


async def _echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _trips(reader, writer, n):
    start = clock()
    for number in range(n):
        message = b"%07d\n" % number
        writer.write(message)
        assert await reader.readexactly(8) == message
    return clock() - start


def pipe_trip(n):
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

    async def main():
        (reader, writer), mine = await ends()
        echo = asyncio.create_task(_echo(reader, writer))
        took = await _trips(*mine, n)
        mine[1].close()
        await echo
        return took

    return run(main())


def subprocess_echo(n):
    async def main():
        cat = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        took = await _trips(cat.stdout, cat.stdin, n)
        cat.stdin.close()
        assert await cat.wait() == 0
        return took

    return run(main())


def signal_wake(n):
    async def main():
        loop, came, event = asyncio.get_running_loop(), 0, asyncio.Event()

        def handle():
            nonlocal came
            came += 1
            event.set()

        loop.add_signal_handler(signal.SIGUSR1, handle)
        start = clock()
        for _ in range(n):
            os.kill(os.getpid(), signal.SIGUSR1)
            await event.wait()
            event.clear()
        took = clock() - start
        loop.remove_signal_handler(signal.SIGUSR1)
        assert came == n
        return took

    return run(main())


def unix_trip(n):
    async def main():
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "socket")
            server = await asyncio.start_unix_server(_echo, path)
            reader, writer = await asyncio.open_unix_connection(path)
            took = await _trips(reader, writer, n)
            writer.close()
            server.close()
        return took

    return run(main())


def tcp_trip(n):
    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(_echo, sock=listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        took = await _trips(reader, writer, n)
        writer.close()
        server.close()
        return took

    return run(main())


def hold(n, measure):
    """Calls measure() before and while n units wait."""

    async def main():
        measure()
        tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(n)]
        await asyncio.sleep(0)
        measure()
        for task in tasks:
            task.cancel()

    return run(main())
