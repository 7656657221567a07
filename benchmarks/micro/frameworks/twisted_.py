"""Twisted: Deferreds, awaited by coroutines. It has no unit that one could switch between by
itself (no sleep(0) but a timer, no events), so what is built on Deferreds stands for it.

The reactor cannot be started twice, so one runs in a thread of its own, and each function's
main() runs within it.
"""

import tempfile
import threading
from functools import cache
from pathlib import Path
from time import perf_counter as clock

from twisted.internet import defer, endpoints, protocol, reactor, task, threads
from twisted.internet.error import ProcessDone


@cache
def _reactor():
    thread = threading.Thread(target=reactor.run, args=(False,), daemon=True)
    thread.start()
    return reactor


def _run(main):
    return threads.blockingCallFromThread(_reactor(), lambda: defer.Deferred.fromCoroutine(main()))


def _sleep(seconds):
    return task.deferLater(reactor, seconds)


async def _nothing():
    pass


def spawn_join(n):
    async def main():
        start = clock()
        units = [defer.Deferred.fromCoroutine(_nothing()) for _ in range(n)]
        for unit in units:
            await unit
        took = clock() - start
        assert all(unit.called for unit in units)
        return took

    return _run(main)


def ping_pong(n):
    async def main():
        ping, pong, hits = defer.DeferredQueue(), defer.DeferredQueue(), 0

        async def other():
            nonlocal hits
            for _ in range(n):
                await ping.get()
                hits += 1
                pong.put(None)

        partner = defer.Deferred.fromCoroutine(other())
        start = clock()
        for _ in range(n):
            ping.put(None)
            await pong.get()
        took = clock() - start
        await partner
        assert hits == n
        return took

    return _run(main)


def yield_now(n):
    async def main():
        start = clock()
        for _ in range(n):
            await _sleep(0)
        return clock() - start

    return _run(main)


def sleepers(n):
    async def main():
        woken = []

        async def doze():
            await _sleep(0.01)
            woken.append(1)

        start = clock()
        await defer.gatherResults([defer.Deferred.fromCoroutine(doze()) for _ in range(n)])
        took = clock() - start
        assert len(woken) == n
        return took

    return _run(main)


def queue_pass(n):
    async def main():
        queue, got = defer.DeferredQueue(), []  # it bounds by an error, not by waiting

        async def consume():
            for _ in range(n):
                got.append(await queue.get())

        start = clock()
        consumer = defer.Deferred.fromCoroutine(consume())
        for item in range(n):
            queue.put(item)
        await consumer
        took = clock() - start
        assert got == list(range(n))
        return took

    return _run(main)


def lock_free(n):
    async def main():
        lock = defer.DeferredLock()
        start = clock()
        for _ in range(n):
            await lock.acquire()
            lock.release()
        took = clock() - start
        assert not lock.locked
        return took

    return _run(main)


def lock_contended(n):
    async def main():
        lock, inside, most, total = defer.DeferredLock(), 0, 0, 0

        async def want():
            nonlocal inside, most, total
            for _ in range(n // 10):
                await lock.acquire()
                inside += 1
                most = max(most, inside)
                await _sleep(0)
                inside -= 1
                total += 1
                lock.release()

        start = clock()
        await defer.gatherResults([defer.Deferred.fromCoroutine(want()) for _ in range(10)])
        took = clock() - start
        assert (most, total) == (1, n // 10 * 10)
        return took

    return _run(main)


def cancel(n):
    async def main():
        cancelled = 0

        def note(failure):
            nonlocal cancelled
            failure.trap(defer.CancelledError)
            cancelled += 1

        units = [_sleep(3600).addErrback(note) for _ in range(n)]
        start = clock()
        for unit in units:
            unit.cancel()
        took = clock() - start
        assert cancelled == n
        return took

    return _run(main)


def timeout(n):
    async def main():
        done = 0
        start = clock()
        for _ in range(n):
            done += await defer.succeed(1).addTimeout(60, reactor)
        took = clock() - start
        assert done == n
        return took

    return _run(main)


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

    return _run(main)


def resume(n, depth):
    async def chain(levels):
        if levels:
            return await chain(levels - 1)
        for _ in range(n):
            await _sleep(0)
        return n

    async def main():
        start = clock()
        resumed = await chain(depth)
        took = clock() - start
        assert resumed == n
        return took

    return _run(main)


def thread_call(n):
    async def main():
        await threads.deferToThread(int)  # the pool is there
        total = 0
        start = clock()
        for _ in range(n):
            total += await threads.deferToThread(abs, -1)
        took = clock() - start
        assert total == n
        return took

    return _run(main)


class _Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class _Client(protocol.Protocol):
    """Sends a message, and fires when its echo has come."""

    def say(self, message):
        self.waiting, self.message, self.data = defer.Deferred(), message, b""
        self.transport.write(message)
        return self.waiting

    def dataReceived(self, data):
        self.data += data
        if len(self.data) == len(self.message):
            self.waiting.callback(self.data)


async def _trips(client, n):
    start = clock()
    for number in range(n):
        message = b"%07d\n" % number
        assert await client.say(message) == message
    return clock() - start


class _Cat(protocol.ProcessProtocol):
    def __init__(self):
        self.ended = defer.Deferred()
        self.client = _Client()

    def connectionMade(self):
        self.client.transport = self.transport

    def outReceived(self, data):
        self.client.dataReceived(data)

    def processEnded(self, reason):
        self.ended.callback(reason.check(ProcessDone) is not None)


def subprocess_echo(n):
    async def main():
        cat = _Cat()
        reactor.spawnProcess(cat, "cat", ["cat"], env=None)
        took = await _trips(cat.client, n)
        cat.transport.closeStdin()
        cat.transport.signalProcess("TERM")
        return took

    return _run(main)


async def _over(server, connect, n):
    listening = await server.listen(protocol.Factory.forProtocol(_Echo))
    client = await endpoints.connectProtocol(connect(listening), _Client())
    took = await _trips(client, n)
    client.transport.loseConnection()
    await listening.stopListening()
    return took


def unix_trip(n):
    async def main():
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "socket")
            return await _over(
                endpoints.UNIXServerEndpoint(reactor, path),
                lambda listening: endpoints.UNIXClientEndpoint(reactor, path),
                n,
            )

    return _run(main)


def tcp_trip(n):
    async def main():
        return await _over(
            endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
            lambda listening: endpoints.TCP4ClientEndpoint(
                reactor, "127.0.0.1", listening.getHost().port
            ),
            n,
        )

    return _run(main)


def hold(n, measure):
    """Calls measure() before and while n units wait."""

    async def main():
        measure()
        units = [_sleep(3600).addErrback(lambda failure: None) for _ in range(n)]
        measure()
        for unit in units:
            unit.cancel()

    return _run(main)
