"""Threads of the operating system."""

import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import sleep

from . import _functions

run = _functions.run


def spawn_join(timed, n):
    threads = [threading.Thread(target=int) for _ in range(n)]
    with timed:
        for thread in threads:
            thread.start()
            thread.join()
    assert not any(thread.is_alive() for thread in threads)


def ping_pong(timed, n):
    ping, pong, hits = threading.Event(), threading.Event(), 0

    def other():
        nonlocal hits
        for _ in range(n):
            ping.wait()
            ping.clear()
            hits += 1
            pong.set()

    partner = threading.Thread(target=other)
    partner.start()
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
        sleep(0.01)
        woken.append(1)

    with timed:
        threads = [threading.Thread(target=doze) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(woken) == n


def event_wake(timed, n):
    event, seen, woken = threading.Event(), threading.Semaphore(0), 0

    def waiter():
        nonlocal woken
        for _ in range(n):
            event.wait()
            event.clear()
            woken += 1
            seen.release()

    thread = threading.Thread(target=waiter)
    thread.start()
    with timed:
        for _ in range(n):
            event.set()
            seen.acquire()
    thread.join()
    assert woken == n


def queue_pass(timed, n):
    passed, got = queue.Queue(16), []

    def consume():
        for _ in range(n):
            got.append(passed.get())

    consumer = threading.Thread(target=consume)
    consumer.start()
    with timed:
        for item in range(n):
            passed.put(item)
        consumer.join()
    assert got == list(range(n))


def lock_free(timed, n):
    lock = threading.Lock()
    with timed:
        for _ in range(n):
            with lock:
                pass
    assert not lock.locked()


def lock_contended(timed, n):
    want, seen = _functions.wanting(threading.Lock(), sleep, n // 10)
    threads = [threading.Thread(target=want) for _ in range(10)]
    with timed:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen() == (1, n // 10 * 10)


yield_now = partial(_functions.yield_now, sleep)
delegate = _functions.delegate
resume = partial(_functions.resume, sleep)


def _calls(timed, n, pool):
    with pool:
        pool.submit(abs, -1).result()
        with timed:
            total = sum(pool.submit(abs, -1).result() for _ in range(n))
    assert total == n


def thread_call(timed, n):
    _calls(timed, n, ThreadPoolExecutor(1))


def process_call(timed, n):
    _calls(timed, n, ProcessPoolExecutor(1))


def _echo(read, write):
    while data := read(65536):
        write(data)


def pipe_trip(timed, n):
    there, back = os.pipe(), os.pipe()
    echo = threading.Thread(
        target=_echo, args=(partial(os.read, there[0]), partial(os.write, back[1]))
    )
    echo.start()
    _functions.trips(timed, n, partial(os.write, there[1]), partial(os.read, back[0]))
    os.close(there[1])
    echo.join()
    for end in (there[0], *back):
        os.close(end)


def subprocess_echo(timed, n):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat:
        _functions.trips(timed, n, cat.stdin.write, cat.stdout.read)
        cat.stdin.close()
        assert cat.wait() == 0


def signal_wake(timed, n):
    came = 0

    def handle(*_):
        nonlocal came
        came += 1

    before = signal.signal(signal.SIGUSR1, handle)
    with timed:
        for count in range(1, n + 1):
            os.kill(os.getpid(), signal.SIGUSR1)
            while came < count:
                pass
    signal.signal(signal.SIGUSR1, before)
    assert came == n


def _over(timed, n, listener, family):
    def serve():
        connection, _ = listener.accept()
        with connection:
            _echo(connection.recv, connection.sendall)

    server = threading.Thread(target=serve)
    server.start()
    with socket.socket(family) as client:
        client.connect(listener.getsockname())
        _functions.trips(timed, n, client.sendall, client.recv)
    server.join()
    listener.close()


def unix_trip(timed, n):
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(Path(folder) / "socket"))
        listener.listen()
        _over(timed, n, listener, socket.AF_UNIX)


def tcp_trip(timed, n):
    _over(timed, n, socket.create_server(("127.0.0.1", 0)), socket.AF_INET)


def hold(n, measure):
    """Calls measure() before and while n units wait."""
    over = threading.Event()
    measure()
    threads = [threading.Thread(target=over.wait) for _ in range(n)]
    for thread in threads:
        thread.start()
    measure()
    over.set()
    for thread in threads:
        thread.join()
