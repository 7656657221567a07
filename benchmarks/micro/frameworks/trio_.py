"""trio: tasks in nurseries."""

import os
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import trio

from . import _coroutines

run = trio.run


async def _nothing():
    pass


async def spawn_join(timed, n):
    with timed:
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(_nothing)
    assert not nursery.child_tasks


async def ping_pong(timed, n):
    to_other, other = trio.open_memory_channel(0)
    to_me, me = trio.open_memory_channel(0)
    hits = 0

    async def partner():
        nonlocal hits
        for _ in range(n):
            await other.receive()
            hits += 1
            await to_me.send(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partner)
        await trio.sleep(0)
        with timed:
            for _ in range(n):
                await to_other.send(None)
                await me.receive()
    assert hits == n


async def sleepers(timed, n):
    woken = []

    async def sleep():
        await trio.sleep(0.01)
        woken.append(1)

    with timed:
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(sleep)
    assert len(woken) == n


async def event_wake(timed, n):
    woken, events = 0, [trio.Event() for _ in range(n)]  # trio's events are for once

    async def waiter():
        nonlocal woken
        for event in events:
            await event.wait()
            woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await trio.sleep(0)
        with timed:
            for count, event in enumerate(events, 1):
                event.set()
                while woken < count:
                    await trio.sleep(0)
    assert woken == n


async def queue_pass(timed, n):
    put, get = trio.open_memory_channel(16)
    got = []

    async def consume():
        for _ in range(n):
            got.append(await get.receive())

    with timed:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            for item in range(n):
                await put.send(item)
    assert got == list(range(n))


async def lock_free(timed, n):
    lock = trio.Lock()
    with timed:
        for _ in range(n):
            async with lock:
                pass
    assert not lock.locked()


async def lock_contended(timed, n):
    want, seen = _coroutines.wanting(trio.Lock(), trio.sleep, n // 10)
    with timed:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(want)
    assert seen() == (1, n // 10 * 10)


async def cancel(timed, n):
    cancelled = 0

    async def sleep(scope):
        nonlocal cancelled
        with scope:
            await trio.sleep_forever()
        cancelled += scope.cancelled_caught

    scopes = [trio.CancelScope() for _ in range(n)]
    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(sleep, scope)
        await trio.sleep(0)
        with timed:
            for scope in scopes:
                scope.cancel()
            while nursery.child_tasks:
                await trio.sleep(0)
    assert cancelled == n


async def timeout(timed, n):
    done = 0
    with timed:
        for _ in range(n):
            with trio.fail_after(60):
                done += 1
    assert done == n


yield_now = partial(_coroutines.yield_now, trio.sleep)
delegate = _coroutines.delegate
resume = partial(_coroutines.resume, trio.sleep)


async def thread_call(timed, n):
    await _coroutines.calls(timed, n, trio.to_thread.run_sync)


async def _echo(stream):
    async for data in stream:
        await stream.send_all(data)


async def pipe_trip(timed, n):
    there, back = os.pipe(), os.pipe()
    theirs = trio.lowlevel.FdStream(there[0]), trio.lowlevel.FdStream(back[1])
    mine = trio.lowlevel.FdStream(back[0]), trio.lowlevel.FdStream(there[1])

    async def echo():
        async for data in theirs[0]:
            await theirs[1].send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        await _coroutines.trips(timed, n, mine[1].send_all, mine[0].receive_some)
        await mine[1].aclose()
    for end in (*theirs, mine[0]):
        await end.aclose()


async def subprocess_echo(timed, n):
    async with trio.open_nursery() as nursery:
        cat = await nursery.start(
            lambda task_status: trio.run_process(
                ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, task_status=task_status
            )
        )
        await _coroutines.trips(timed, n, cat.stdin.send_all, cat.stdout.receive_some)
        await cat.stdin.aclose()
    assert cat.returncode == 0


async def signal_wake(timed, n):
    came = 0
    with trio.open_signal_receiver(signal.SIGUSR1) as signals, timed:
        for _ in range(n):
            os.kill(os.getpid(), signal.SIGUSR1)
            came += await anext(signals) == signal.SIGUSR1
    assert came == n


async def _over(timed, n, listeners, connect):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _echo, listeners)
        stream = await connect()
        await _coroutines.trips(timed, n, stream.send_all, stream.receive_some)
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def unix_trip(timed, n):
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(path)
        listener.listen()
        listeners = [trio.SocketListener(listener)]
        await _over(timed, n, listeners, lambda: trio.open_unix_socket(path))


async def tcp_trip(timed, n):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await _over(timed, n, listeners, lambda: trio.open_tcp_stream("127.0.0.1", port))


async def hold(n, measure):
    """Calls measure() before and while n units wait."""
    measure()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(trio.sleep, 3600)
        await trio.sleep(0.01)
        measure()
        nursery.cancel_scope.cancel()
