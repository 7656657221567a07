"""curio: tasks."""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import curio_here as curio
from curio import socket, subprocess
from curio.io import FileStream

from . import _coroutines

run = curio.run


async def _nothing():
    pass


async def spawn_join(timed, n):
    with timed:
        tasks = [await curio.spawn(_nothing) for _ in range(n)]
        for task in tasks:
            await task.join()
    assert all(task.terminated for task in tasks)


async def ping_pong(timed, n):
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
    with timed:
        for _ in range(n):
            await ping.set()
            await pong.wait()
            pong.clear()
    await partner.join()
    assert hits == n


async def sleepers(timed, n):
    woken = []

    async def sleep():
        await curio.sleep(0.01)
        woken.append(1)

    with timed:
        tasks = [await curio.spawn(sleep) for _ in range(n)]
        for task in tasks:
            await task.join()
    assert len(woken) == n


async def event_wake(timed, n):
    event, woken = curio.Event(), 0

    async def waiter():
        nonlocal woken
        while woken < n:
            await event.wait()
            event.clear()
            woken += 1

    task = await curio.spawn(waiter)
    await curio.sleep(0)
    with timed:
        for count in range(1, n + 1):
            await event.set()
            while woken < count:
                await curio.sleep(0)
    await task.join()
    assert woken == n


async def queue_pass(timed, n):
    queue, got = curio.Queue(16), []

    async def consume():
        for _ in range(n):
            got.append(await queue.get())

    consumer = await curio.spawn(consume)
    with timed:
        for item in range(n):
            await queue.put(item)
        await consumer.join()
    assert got == list(range(n))


async def lock_free(timed, n):
    lock = curio.Lock()
    with timed:
        for _ in range(n):
            async with lock:
                pass
    assert not lock.locked()


async def lock_contended(timed, n):
    want, seen = _coroutines.wanting(curio.Lock(), curio.sleep, n // 10)
    with timed:
        tasks = [await curio.spawn(want) for _ in range(10)]
        for task in tasks:
            await task.join()
    assert seen() == (1, n // 10 * 10)


async def cancel(timed, n):
    tasks = [await curio.spawn(curio.sleep, 3600) for _ in range(n)]
    await curio.sleep(0)
    with timed:
        for task in tasks:
            await task.cancel()
    assert all(task.cancelled for task in tasks)


async def timeout(timed, n):
    done = 0
    with timed:
        for _ in range(n):
            async with curio.timeout_after(60):
                done += 1
    assert done == n


yield_now = partial(_coroutines.yield_now, curio.sleep)
delegate = _coroutines.delegate
resume = partial(_coroutines.resume, curio.sleep)


async def thread_call(timed, n):
    await _coroutines.calls(timed, n, curio.run_in_thread)


if sys.version_info < (3, 12):  # later, its worker process cannot import curio

    async def process_call(timed, n):
        await _coroutines.calls(timed, n, curio.run_in_process)


async def pipe_trip(timed, n):
    there, back = os.pipe(), os.pipe()
    theirs = FileStream(os.fdopen(there[0], "rb", 0)), FileStream(os.fdopen(back[1], "wb", 0))
    mine = FileStream(os.fdopen(back[0], "rb", 0)), FileStream(os.fdopen(there[1], "wb", 0))

    async def echo():
        while data := await theirs[0].read(65536):
            await theirs[1].write(data)

    partner = await curio.spawn(echo)
    await _coroutines.trips(timed, n, mine[1].write, partial(mine[0].read, 8))
    await mine[1].close()
    await partner.join()
    for end in (*theirs, mine[0]):
        await end.close()


async def subprocess_echo(timed, n):
    async with subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as cat:
        await _coroutines.trips(timed, n, cat.stdin.write, partial(cat.stdout.read, 8))
        await cat.stdin.close()
        assert await cat.wait() == 0


async def _echo(client, address):
    while data := await client.recv(65536):
        await client.sendall(data)


async def _over(timed, n, listener, family, address):
    async def serve():
        client, address = await listener.accept()
        async with client:
            await _echo(client, address)

    server = await curio.spawn(serve)
    async with socket.socket(family) as client:
        await client.connect(address)
        await _coroutines.trips(timed, n, client.sendall, partial(client.recv, 8))
    await server.join()
    await listener.close()


async def unix_trip(timed, n):
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        await _over(timed, n, listener, socket.AF_UNIX, path)


async def tcp_trip(timed, n):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    await _over(timed, n, listener, socket.AF_INET, listener.getsockname())


async def hold(n, measure):
    """Calls measure() before and while n units wait."""
    measure()
    tasks = [await curio.spawn(curio.sleep, 3600) for _ in range(n)]
    await curio.sleep(0.01)
    measure()
    for task in tasks:
        await task.cancel()
