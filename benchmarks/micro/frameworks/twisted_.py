"""Twisted: Deferreds, awaited by coroutines. It has no unit that one could switch between by
itself (no sleep(0) but a timer, no events), so what is built on Deferreds stands for it.

The reactor cannot be started twice, so one runs in a thread of its own, and each function's
main() runs within it.
"""

import tempfile
import threading
from functools import cache, partial
from pathlib import Path

from twisted.internet import defer, endpoints, protocol, reactor, task, threads
from twisted.internet.error import ProcessDone

from . import _coroutines


@cache
def _reactor():
    thread = threading.Thread(target=reactor.run, args=(False,), daemon=True)
    thread.start()
    return reactor


def run(main):
    """Runs a coroutine function in the reactor's thread."""
    return threads.blockingCallFromThread(_reactor(), lambda: defer.Deferred.fromCoroutine(main()))


def _sleep(seconds):
    return task.deferLater(reactor, seconds)


async def _nothing():
    pass


async def spawn_join(timed, n):
    with timed:
        units = [defer.Deferred.fromCoroutine(_nothing()) for _ in range(n)]
        for unit in units:
            await unit
    assert all(unit.called for unit in units)


async def ping_pong(timed, n):
    ping, pong, hits = defer.DeferredQueue(), defer.DeferredQueue(), 0

    async def other():
        nonlocal hits
        for _ in range(n):
            await ping.get()
            hits += 1
            pong.put(None)

    partner = defer.Deferred.fromCoroutine(other())
    with timed:
        for _ in range(n):
            ping.put(None)
            await pong.get()
    await partner
    assert hits == n


async def sleepers(timed, n):
    woken = []

    async def doze():
        await _sleep(0.01)
        woken.append(1)

    with timed:
        await defer.gatherResults([defer.Deferred.fromCoroutine(doze()) for _ in range(n)])
    assert len(woken) == n


async def queue_pass(timed, n):
    queue, got = defer.DeferredQueue(), []  # it bounds by an error, not by waiting

    async def consume():
        for _ in range(n):
            got.append(await queue.get())

    with timed:
        consumer = defer.Deferred.fromCoroutine(consume())
        for item in range(n):
            queue.put(item)
        await consumer
    assert got == list(range(n))


async def lock_free(timed, n):
    lock = defer.DeferredLock()
    with timed:
        for _ in range(n):
            await lock.acquire()
            lock.release()
    assert not lock.locked


async def lock_contended(timed, n):
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

    with timed:
        await defer.gatherResults([defer.Deferred.fromCoroutine(want()) for _ in range(10)])
    assert (most, total) == (1, n // 10 * 10)


async def cancel(timed, n):
    cancelled = 0

    def note(failure):
        nonlocal cancelled
        failure.trap(defer.CancelledError)
        cancelled += 1

    units = [_sleep(3600).addErrback(note) for _ in range(n)]
    with timed:
        for unit in units:
            unit.cancel()
    assert cancelled == n


async def timeout(timed, n):
    done = 0
    with timed:
        for _ in range(n):
            done += await defer.succeed(1).addTimeout(60, reactor)
    assert done == n


yield_now = partial(_coroutines.yield_now, _sleep)
delegate = _coroutines.delegate
resume = partial(_coroutines.resume, _sleep)


async def thread_call(timed, n):
    await _coroutines.calls(timed, n, threads.deferToThread)


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


async def _trips(timed, n, client):
    with timed:
        for number in range(n):
            message = b"%07d\n" % number
            assert await client.say(message) == message


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


async def subprocess_echo(timed, n):
    cat = _Cat()
    reactor.spawnProcess(cat, "cat", ["cat"], env=None)
    await _trips(timed, n, cat.client)
    cat.transport.closeStdin()
    cat.transport.signalProcess("TERM")


async def _over(timed, n, server, connect):
    listening = await server.listen(protocol.Factory.forProtocol(_Echo))
    client = await endpoints.connectProtocol(connect(listening), _Client())
    await _trips(timed, n, client)
    client.transport.loseConnection()
    await listening.stopListening()


async def unix_trip(timed, n):
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        await _over(
            timed,
            n,
            endpoints.UNIXServerEndpoint(reactor, path),
            lambda listening: endpoints.UNIXClientEndpoint(reactor, path),
        )


async def tcp_trip(timed, n):
    await _over(
        timed,
        n,
        endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
        lambda listening: endpoints.TCP4ClientEndpoint(
            reactor, "127.0.0.1", listening.getHost().port
        ),
    )


async def hold(n, measure):
    """Calls measure() before and while n units wait."""
    measure()
    units = [_sleep(3600).addErrback(lambda failure: None) for _ in range(n)]
    measure()
    for unit in units:
        unit.cancel()
