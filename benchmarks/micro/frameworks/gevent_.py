"""gevent: greenlets, without monkey-patching."""

import os
import signal
import tempfile
from pathlib import Path
from time import perf_counter as clock

import gevent
from gevent import event, lock, queue, server, socket, subprocess, threadpool
from gevent import os as gos


def spawn_join(n):
    start = clock()
    greenlets = [gevent.spawn(int) for _ in range(n)]
    for greenlet in greenlets:
        greenlet.join()
    took = clock() - start
    assert all(greenlet.successful() for greenlet in greenlets)
    return took


def ping_pong(n):
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
    start = clock()
    for _ in range(n):
        ping.set()
        pong.wait()
        pong.clear()
    took = clock() - start
    partner.join()
    assert hits == n
    return took


def yield_now(n):
    start = clock()
    for _ in range(n):
        gevent.sleep(0)
    return clock() - start


def sleepers(n):
    woken = []

    def doze():
        gevent.sleep(0.01)
        woken.append(1)

    start = clock()
    gevent.joinall([gevent.spawn(doze) for _ in range(n)])
    took = clock() - start
    assert len(woken) == n
    return took


def event_wake(n):
    wake, woken = event.Event(), 0

    def waiter():
        nonlocal woken
        while woken < n:
            wake.wait()
            wake.clear()
            woken += 1

    greenlet = gevent.spawn(waiter)
    gevent.sleep(0)
    start = clock()
    for count in range(1, n + 1):
        wake.set()
        while woken < count:
            gevent.sleep(0)
    took = clock() - start
    greenlet.join()
    assert woken == n
    return took


def queue_pass(n):
    passed, got = queue.Queue(16), []

    def consume():
        for _ in range(n):
            got.append(passed.get())

    consumer = gevent.spawn(consume)
    start = clock()
    for item in range(n):
        passed.put(item)
    consumer.join()
    took = clock() - start
    assert got == list(range(n))
    return took


def lock_free(n):
    free = lock.BoundedSemaphore(1)
    start = clock()
    for _ in range(n):
        with free:
            pass
    took = clock() - start
    assert not free.locked()
    return took


def lock_contended(n):
    wanted, inside, most, total = lock.BoundedSemaphore(1), 0, 0, 0

    def want():
        nonlocal inside, most, total
        for _ in range(n // 10):
            with wanted:
                inside += 1
                most = max(most, inside)
                gevent.sleep(0)
                inside -= 1
                total += 1

    start = clock()
    gevent.joinall([gevent.spawn(want) for _ in range(10)])
    took = clock() - start
    assert (most, total) == (1, n // 10 * 10)
    return took


def cancel(n):
    greenlets = [gevent.spawn(gevent.sleep, 3600) for _ in range(n)]
    gevent.sleep(0)
    start = clock()
    gevent.killall(greenlets)
    took = clock() - start
    assert all(isinstance(each.value, gevent.GreenletExit) for each in greenlets)
    return took


def timeout(n):
    done = 0
    start = clock()
    for _ in range(n):
        with gevent.Timeout(60):
            done += 1
    took = clock() - start
    assert done == n
    return took


def delegate(n, depth):
    def chain(levels):
        return 1 if levels == 0 else chain(levels - 1)  # greenlets call functions

    total = 0
    start = clock()
    for _ in range(n):
        total += chain(depth)
    took = clock() - start
    assert total == n
    return took


def resume(n, depth):
    def chain(levels):
        if levels:
            return chain(levels - 1)
        for _ in range(n):
            gevent.sleep(0)
        return n

    start = clock()
    resumed = chain(depth)
    took = clock() - start
    assert resumed == n
    return took


def thread_call(n):
    pool = threadpool.ThreadPool(1)
    pool.spawn(int).get()
    start = clock()
    total = sum(pool.spawn(abs, -1).get() for _ in range(n))
    took = clock() - start
    pool.kill()
    assert total == n
    return took


def _trips(write, read, n):
    start = clock()
    for number in range(n):
        message = b"%07d\n" % number
        write(message)
        assert read(8) == message
    return clock() - start


def pipe_trip(n):
    there, back = os.pipe(), os.pipe()
    for end in (*there, *back):
        gos.make_nonblocking(end)

    def echo():
        while data := gos.nb_read(there[0], 65536):
            gos.nb_write(back[1], data)

    partner = gevent.spawn(echo)
    took = _trips(lambda data: gos.nb_write(there[1], data), lambda n: gos.nb_read(back[0], n), n)
    os.close(there[1])
    partner.join()
    for end in (there[0], *back):
        os.close(end)
    return took


def subprocess_echo(n):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat:
        took = _trips(cat.stdin.write, cat.stdout.read, n)
        cat.stdin.close()
        assert cat.wait() == 0
    return took


def signal_wake(n):
    came, wake = 0, event.Event()

    def handle():
        nonlocal came
        came += 1
        wake.set()

    watcher = gevent.signal_handler(signal.SIGUSR1, handle)
    start = clock()
    for _ in range(n):
        os.kill(os.getpid(), signal.SIGUSR1)
        wake.wait()
        wake.clear()
    took = clock() - start
    watcher.cancel()
    assert came == n
    return took


def _echo(client, address):
    while data := client.recv(65536):
        client.sendall(data)


def _over(listener, family, n):
    serving = server.StreamServer(listener, _echo)
    serving.start()
    with socket.socket(family) as client:
        client.connect(listener.getsockname())
        took = _trips(client.sendall, client.recv, n)
    serving.stop()
    return took


def unix_trip(n):
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(Path(folder) / "socket"))
        listener.listen()
        return _over(listener, socket.AF_UNIX, n)


def tcp_trip(n):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return _over(listener, socket.AF_INET, n)


def hold(n, measure):
    """Calls measure() before and while n units wait."""
    measure()
    greenlets = [gevent.spawn(gevent.sleep, 3600) for _ in range(n)]
    gevent.sleep(0.01)
    measure()
    gevent.killall(greenlets)
