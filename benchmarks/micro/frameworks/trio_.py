"""trio: tasks in nurseries."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter as clock

import trio


async def _nothing():
    pass


def spawn_join(n):
    async def main():
        start = clock()
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(_nothing)
        took = clock() - start
        assert not nursery.child_tasks
        return took

    return trio.run(main)


def ping_pong(n):
    async def main():
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
            start = clock()
            for _ in range(n):
                await to_other.send(None)
                await me.receive()
            took = clock() - start
        assert hits == n
        return took

    return trio.run(main)


def yield_now(n):
    async def main():
        start = clock()
        for _ in range(n):
            await trio.sleep(0)
        return clock() - start

    return trio.run(main)


def sleepers(n):
    async def main():
        woken = []

        async def sleep():
            await trio.sleep(0.01)
            woken.append(1)

        start = clock()
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(sleep)
        took = clock() - start
        assert len(woken) == n
        return took

    return trio.run(main)


def event_wake(n):
    async def main():
        woken, events = 0, [trio.Event() for _ in range(n)]  # trio's events are for once

        async def waiter():
            nonlocal woken
            for event in events:
                await event.wait()
                woken += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter)
            await trio.sleep(0)
            start = clock()
            for count, event in enumerate(events, 1):
                event.set()
                while woken < count:
                    await trio.sleep(0)
            took = clock() - start
        assert woken == n
        return took

    return trio.run(main)


def queue_pass(n):
    async def main():
        put, get = trio.open_memory_channel(16)
        got = []

        async def consume():
            for _ in range(n):
                got.append(await get.receive())

        start = clock()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            for item in range(n):
                await put.send(item)
        took = clock() - start
        assert got == list(range(n))
        return took

    return trio.run(main)


def lock_free(n):
    async def main():
        lock = trio.Lock()
        start = clock()
        for _ in range(n):
            async with lock:
                pass
        took = clock() - start
        assert not lock.locked()
        return took

    return trio.run(main)


def lock_contended(n):
    async def main():
        lock, inside, most, total = trio.Lock(), 0, 0, 0

        async def want():
            nonlocal inside, most, total
            for _ in range(n // 10):
                async with lock:
                    inside += 1
                    most = max(most, inside)
                    await trio.sleep(0)
                    inside -= 1
                    total += 1

        start = clock()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(want)
        took = clock() - start
        assert (most, total) == (1, n // 10 * 10)
        return took

    return trio.run(main)


def cancel(n):
    async def main():
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
            start = clock()
            for scope in scopes:
                scope.cancel()
            while nursery.child_tasks:
                await trio.sleep(0)
            took = clock() - start
        assert cancelled == n
        return took

    return trio.run(main)


def timeout(n):
    async def main():
        done = 0
        start = clock()
        for _ in range(n):
            with trio.fail_after(60):
                done += 1
        took = clock() - start
        assert done == n
        return took

    return trio.run(main)


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

    return trio.run(main)


def resume(n, depth):
    async def chain(levels):
        if levels:
            return await chain(levels - 1)
        for _ in range(n):
            await trio.sleep(0)
        return n

    async def main():
        start = clock()
        resumed = await chain(depth)
        took = clock() - start
        assert resumed == n
        return took

    return trio.run(main)


def thread_call(n):
    async def main():
        await trio.to_thread.run_sync(int)  # the pool is there
        total = 0
        start = clock()
        for _ in range(n):
            total += await trio.to_thread.run_sync(abs, -1)
        took = clock() - start
        assert total == n
        return took

    return trio.run(main)


async def _echo(stream):
    async for data in stream:
        await stream.send_all(data)


async def _trips(send, receive, n):
    start = clock()
    for number in range(n):
        message = b"%07d\n" % number
        await send(message)
        data = await receive()
        while len(data) < 8:
            data += await receive()
        assert data == message
    return clock() - start


def pipe_trip(n):
    async def main():
        there, back = os.pipe(), os.pipe()
        theirs = trio.lowlevel.FdStream(there[0]), trio.lowlevel.FdStream(back[1])
        mine = trio.lowlevel.FdStream(back[0]), trio.lowlevel.FdStream(there[1])

        async def echo():
            async for data in theirs[0]:
                await theirs[1].send_all(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            took = await _trips(mine[1].send_all, mine[0].receive_some, n)
            await mine[1].aclose()
        for end in (*theirs, mine[0]):
            await end.aclose()
        return took

    return trio.run(main)


def subprocess_echo(n):
    async def main():
        async with trio.open_nursery() as nursery:
            cat = await nursery.start(
                lambda task_status: trio.run_process(
                    ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, task_status=task_status
                )
            )
            took = await _trips(cat.stdin.send_all, cat.stdout.receive_some, n)
            await cat.stdin.aclose()
        assert cat.returncode == 0
        return took

    return trio.run(main)


def signal_wake(n):
    async def main():
        came = 0
        with trio.open_signal_receiver(signal.SIGUSR1) as signals:
            start = clock()
            for _ in range(n):
                os.kill(os.getpid(), signal.SIGUSR1)
                came += await anext(signals) == signal.SIGUSR1
            took = clock() - start
        assert came == n
        return took

    return trio.run(main)


async def _over(listeners, connect, n):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, _echo, listeners)
        stream = await connect()
        took = await _trips(stream.send_all, stream.receive_some, n)
        await stream.aclose()
        nursery.cancel_scope.cancel()
    return took


def unix_trip(n):
    async def main():
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "socket")
            listener = trio.socket.socket(trio.socket.AF_UNIX)
            await listener.bind(path)
            listener.listen()
            return await _over(
                [trio.SocketListener(listener)], lambda: trio.open_unix_socket(path), n
            )

    return trio.run(main)


def tcp_trip(n):
    async def main():
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        return await _over(listeners, lambda: trio.open_tcp_stream("127.0.0.1", port), n)

    return trio.run(main)


def hold(n, measure):
    """Calls measure() before and while n units wait."""

    async def main():
        measure()
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(trio.sleep, 3600)
            await trio.sleep(0.01)
            measure()
            nursery.cancel_scope.cancel()

    return trio.run(main)
