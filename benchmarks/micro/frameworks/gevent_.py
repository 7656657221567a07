"""gevent: greenlets, without monkey-patching."""

import os
import signal
import tempfile
from functools import partial
from pathlib import Path

import gevent
from gevent import event, lock, queue, server, socket, subprocess, threadpool
from gevent import os as gos

from . import _functions

run = _functions.run


def spawn_join(timed, n):
    with timed:
        greenlets = [gevent.spawn(int) for _ in range(n)]
        for greenlet in greenlets:
            greenlet.join()
    assert all(greenlet.successful() for greenlet in greenlets)


def ping_pong(timed, n):
    ping, pong, hits = event.Event(), event.Event(), 0

    def other():
        nonlocal hits
        for _ in range(n):
            ping.wait()
            ping.clear()
            hits += 1
            pong.set()

    partner = gevent.spawn(other)
    gevent.sleep(0)
    with timed:
        for _ in range(n):
            ping.set()
            pong.wait()
            pong.clear()
    partner.join()
    assert hits == n


def sleepers(timed, n):
    woken = []

    def doze():
        gevent.sleep(0.01)
        woken.append(1)

    with timed:
        gevent.joinall([gevent.spawn(doze) for _ in range(n)])
    assert len(woken) == n


def event_wake(timed, n):
    wake, woken = event.Event(), 0

    def waiter():
        nonlocal woken
        while woken < n:
            wake.wait()
            wake.clear()
            woken += 1

    greenlet = gevent.spawn(waiter)
    gevent.sleep(0)
    with timed:
        for count in range(1, n + 1):
            wake.set()
            while woken < count:
                gevent.sleep(0)
    greenlet.join()
    assert woken == n


def queue_pass(timed, n):
    passed, got = queue.Queue(16), []

    def consume():
        for _ in range(n):
            got.append(passed.get())

    consumer = gevent.spawn(consume)
    with timed:
        for item in range(n):
            passed.put(item)
        consumer.join()
    assert got == list(range(n))


def lock_free(timed, n):
    free = lock.BoundedSemaphore(1)
    with timed:
        for _ in range(n):
            with free:
                pass
    assert not free.locked()


def lock_contended(timed, n):
    want, seen = _functions.wanting(lock.BoundedSemaphore(1), gevent.sleep, n // 10)
    with timed:
        gevent.joinall([gevent.spawn(want) for _ in range(10)])
    assert seen() == (1, n // 10 * 10)


def cancel(timed, n):
    greenlets = [gevent.spawn(gevent.sleep, 3600) for _ in range(n)]
    gevent.sleep(0)
    with timed:
        gevent.killall(greenlets)
    assert all(isinstance(each.value, gevent.GreenletExit) for each in greenlets)


def timeout(timed, n):
    done = 0
    with timed:
        for _ in range(n):
            with gevent.Timeout(60):
                done += 1
    assert done == n


yield_now = partial(_functions.yield_now, gevent.sleep)
delegate = _functions.delegate
resume = partial(_functions.resume, gevent.sleep)


def thread_call(timed, n):
    pool = threadpool.ThreadPool(1)
    pool.spawn(int).get()
    with timed:
        total = sum(pool.spawn(abs, -1).get() for _ in range(n))
    pool.kill()
    assert total == n


def pipe_trip(timed, n):
    there, back = os.pipe(), os.pipe()
    for end in (*there, *back):
        gos.make_nonblocking(end)

    def echo():
        while data := gos.nb_read(there[0], 65536):
            gos.nb_write(back[1], data)

    partner = gevent.spawn(echo)
    _functions.trips(timed, n, partial(gos.nb_write, there[1]), partial(gos.nb_read, back[0]))
    os.close(there[1])
    partner.join()
    for end in (there[0], *back):
        os.close(end)


def subprocess_echo(timed, n):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat:
        _functions.trips(timed, n, cat.stdin.write, cat.stdout.read)
        cat.stdin.close()
        assert cat.wait() == 0


def signal_wake(timed, n):
    came, wake = 0, event.Event()

    def handle():
        nonlocal came
        came += 1
        wake.set()

    watcher = gevent.signal_handler(signal.SIGUSR1, handle)
    with timed:
        for _ in range(n):
            os.kill(os.getpid(), signal.SIGUSR1)
            wake.wait()
            wake.clear()
    watcher.cancel()
    assert came == n


def _echo(client, address):
    while data := client.recv(65536):
        client.sendall(data)


def _over(timed, n, listener, family):
    serving = server.StreamServer(listener, _echo)
    serving.start()
    with socket.socket(family) as client:
        client.connect(listener.getsockname())
        _functions.trips(timed, n, client.sendall, client.recv)
    serving.stop()


def unix_trip(timed, n):
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(Path(folder) / "socket"))
        listener.listen()
        _over(timed, n, listener, socket.AF_UNIX)


def tcp_trip(timed, n):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    _over(timed, n, listener, socket.AF_INET)


def hold(n, measure):
    """Calls measure() before and while n units wait."""
    measure()
    greenlets = [gevent.spawn(gevent.sleep, 3600) for _ in range(n)]
    gevent.sleep(0.01)
    measure()
    gevent.killall(greenlets)
