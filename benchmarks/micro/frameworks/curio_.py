"""curio: tasks."""

import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter as clock

import curio_here as curio
from curio import socket, subprocess
from curio.io import FileStream


async def _nothing():
    pass


def spawn_join(n):
    async def main():
        start = clock()
        tasks = [await curio.spawn(_nothing) for _ in range(n)]
        for task in tasks:
            await task.join()
        took = clock() - start
        assert all(task.terminated for task in tasks)
        return took

    return curio.run(main)


def ping_pong(n):
    async def main():
        ping, pong, hits = curio.Event(), curio.Event(), 0

        async def other():
            nonlocal hits
            for _ in range(n):
                await ping.wait()
                ping.clear()
                hits += 1
                await pong.set()

        partner = await curio.spawn(other)
        await curio.sleep(0)
        start = clock()
        for _ in range(n):
            await ping.set()
            await pong.wait()
            pong.clear()
        took = clock() - start
        await partner.join()
        assert hits == n
        return took

    return curio.run(main)


def yield_now(n):
    async def main():
        start = clock()
        for _ in range(n):
            await curio.sleep(0)
        return clock() - start

    return curio.run(main)


def sleepers(n):
    async def main():
        woken = []

        async def sleep():
            await curio.sleep(0.01)
            woken.append(1)

        start = clock()
        tasks = [await curio.spawn(sleep) for _ in range(n)]
        for task in tasks:
            await task.join()
        took = clock() - start
        assert len(woken) == n
        return took

    return curio.run(main)


def event_wake(n):
    async def main():
        event, woken = curio.Event(), 0

        async def waiter():
            nonlocal woken
            while woken < n:
                await event.wait()
                event.clear()
                woken += 1

        task = await curio.spawn(waiter)
        await curio.sleep(0)
        start = clock()
        for count in range(1, n + 1):
            await event.set()
            while woken < count:
                await curio.sleep(0)
        took = clock() - start
        await task.join()
        assert woken == n
        return took

    return curio.run(main)


def queue_pass(n):
    async def main():
        queue, got = curio.Queue(16), []

        async def consume():
            for _ in range(n):
                got.append(await queue.get())

        consumer = await curio.spawn(consume)
        start = clock()
        for item in range(n):
            await queue.put(item)
        await consumer.join()
        took = clock() - start
        assert got == list(range(n))
        return took

    return curio.run(main)


def lock_free(n):
    async def main():
        lock = curio.Lock()
        start = clock()
        for _ in range(n):
            async with lock:
                pass
        took = clock() - start
        assert not lock.locked()
        return took

    return curio.run(main)


def lock_contended(n):
    async def main():
        lock, inside, most, total = curio.Lock(), 0, 0, 0

        async def want():
            nonlocal inside, most, total
            for _ in range(n // 10):
                async with lock:
                    inside += 1
                    most = max(most, inside)
                    await curio.sleep(0)
                    inside -= 1
                    total += 1

        start = clock()
        tasks = [await curio.spawn(want) for _ in range(10)]
        for task in tasks:
            await task.join()
        took = clock() - start
        assert (most, total) == (1, n // 10 * 10)
        return took

    return curio.run(main)


def cancel(n):
    async def main():
        tasks = [await curio.spawn(curio.sleep, 3600) for _ in range(n)]
        await curio.sleep(0)
        start = clock()
        for task in tasks:
            await task.cancel()
        took = clock() - start
        assert all(task.cancelled for task in tasks)
        return took

    return curio.run(main)


def timeout(n):
    async def main():
        done = 0
        start = clock()
        for _ in range(n):
            async with curio.timeout_after(60):
                done += 1
        took = clock() - start
        assert done == n
        return took

    return curio.run(main)


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

    return curio.run(main)


def resume(n, depth):
    async def chain(levels):
        if levels:
            return await chain(levels - 1)
        for _ in range(n):
            await curio.sleep(0)
        return n

    async def main():
        start = clock()
        resumed = await chain(depth)
        took = clock() - start
        assert resumed == n
        return took

    return curio.run(main)


def thread_call(n):
    async def main():
        await curio.run_in_thread(int)
        total = 0
        start = clock()
        for _ in range(n):
            total += await curio.run_in_thread(abs, -1)
        took = clock() - start
        assert total == n
        return took

    return curio.run(main)


if sys.version_info < (3, 12):  # later, its worker process cannot import curio

    def process_call(n):
        async def main():
            await curio.run_in_process(abs, -1)
            total = 0
            start = clock()
            for _ in range(n):
                total += await curio.run_in_process(abs, -1)
            took = clock() - start
            assert total == n
            return took

        return curio.run(main)


async def _trips(write, read, n):
    start = clock()
    for number in range(n):
        message = b"%07d\n" % number
        await write(message)
        data = await read(8)
        while len(data) < 8:
            data += await read(8 - len(data))
        assert data == message
    return clock() - start


def pipe_trip(n):
    async def main():
        there, back = os.pipe(), os.pipe()
        theirs = FileStream(os.fdopen(there[0], "rb", 0)), FileStream(os.fdopen(back[1], "wb", 0))
        mine = FileStream(os.fdopen(back[0], "rb", 0)), FileStream(os.fdopen(there[1], "wb", 0))

        async def echo():
            while data := await theirs[0].read(65536):
                await theirs[1].write(data)

        partner = await curio.spawn(echo)
        took = await _trips(mine[1].write, mine[0].read, n)
        await mine[1].close()
        await partner.join()
        for end in (*theirs, mine[0]):
            await end.close()
        return took

    return curio.run(main)


def subprocess_echo(n):
    async def main():
        async with subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        ) as cat:
            took = await _trips(cat.stdin.write, cat.stdout.read, n)
            await cat.stdin.close()
            assert await cat.wait() == 0
        return took

    return curio.run(main)


async def _echo(client, address):
    while data := await client.recv(65536):
        await client.sendall(data)


async def _over(listener, family, address, n):
    async def serve():
        client, address = await listener.accept()
        async with client:
            await _echo(client, address)

    server = await curio.spawn(serve)
    async with socket.socket(family) as client:
        await client.connect(address)
        took = await _trips(client.sendall, client.recv, n)
    await server.join()
    await listener.close()
    return took


def unix_trip(n):
    async def main():
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "socket")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen()
            return await _over(listener, socket.AF_UNIX, path, n)

    return curio.run(main)


def tcp_trip(n):
    async def main():
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return await _over(listener, socket.AF_INET, listener.getsockname(), n)

    return curio.run(main)


def hold(n, measure):
    """Calls measure() before and while n units wait."""

    async def main():
        measure()
        tasks = [await curio.spawn(curio.sleep, 3600) for _ in range(n)]
        await curio.sleep(0.01)
        measure()
        for task in tasks:
            await task.cancel()

    return curio.run(main)
