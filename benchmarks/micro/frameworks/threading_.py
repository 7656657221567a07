"""Threads of the operating system."""

import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter as clock
from time import sleep


def spawn_join(n):
    threads = [threading.Thread(target=int) for _ in range(n)]
    start = clock()
    for thread in threads:
        thread.start()
        thread.join()
    took = clock() - start
    assert not any(thread.is_alive() for thread in threads)
    return took


def ping_pong(n):
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
        sleep(0)
    return clock() - start


def sleepers(n):
    woken = []

    def doze():
        sleep(0.01)
        woken.append(1)

    start = clock()
    threads = [threading.Thread(target=doze) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = clock() - start
    assert len(woken) == n
    return took


def event_wake(n):
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
    start = clock()
    for _ in range(n):
        event.set()
        seen.acquire()
    took = clock() - start
    thread.join()
    assert woken == n
    return took


def queue_pass(n):
    passed, got = queue.Queue(16), []

    def consume():
        for _ in range(n):
            got.append(passed.get())

    consumer = threading.Thread(target=consume)
    consumer.start()
    start = clock()
    for item in range(n):
        passed.put(item)
    consumer.join()
    took = clock() - start
    assert got == list(range(n))
    return took


def lock_free(n):
    lock = threading.Lock()
    start = clock()
    for _ in range(n):
        with lock:
            pass
    took = clock() - start
    assert not lock.locked()
    return took


def lock_contended(n):
    lock, inside, most, total = threading.Lock(), 0, 0, 0

    def want():
        nonlocal inside, most, total
        for _ in range(n // 10):
            with lock:
                inside += 1
                most = max(most, inside)
                sleep(0)
                inside -= 1
                total += 1

    threads = [threading.Thread(target=want) for _ in range(10)]
    start = clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = clock() - start
    assert (most, total) == (1, n // 10 * 10)
    return took


def delegate(n, depth):
    def chain(levels):
        return 1 if levels == 0 else chain(levels - 1)  # threads call functions

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
            sleep(0)
        return n

    start = clock()
    resumed = chain(depth)
    took = clock() - start
    assert resumed == n
    return took


def thread_call(n):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        start = clock()
        total = sum(pool.submit(abs, -1).result() for _ in range(n))
        took = clock() - start
    assert total == n
    return took


def process_call(n):
    with ProcessPoolExecutor(1) as pool:
        pool.submit(abs, -1).result()
        start = clock()
        total = sum(pool.submit(abs, -1).result() for _ in range(n))
        took = clock() - start
    assert total == n
    return took


def _trips(read, write, n):
    start = clock()
    for number in range(n):
        message = b"%07d\n" % number
        write(message)
        assert read(8) == message
    return clock() - start


def _echo(read, write):
    while data := read(65536):
        write(data)


def pipe_trip(n):
    there, back = os.pipe(), os.pipe()
    echo = threading.Thread(
        target=_echo, args=(lambda size: os.read(there[0], size), lambda d: os.write(back[1], d))
    )
    echo.start()
    took = _trips(lambda size: os.read(back[0], size), lambda data: os.write(there[1], data), n)
    os.close(there[1])
    echo.join()
    for end in (there[0], *back):
        os.close(end)
    return took


def subprocess_echo(n):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat:
        took = _trips(cat.stdout.read, cat.stdin.write, n)
        cat.stdin.close()
        assert cat.wait() == 0
    return took


def signal_wake(n):
    came = 0

    def handle(*_):
        nonlocal came
        came += 1

    before = signal.signal(signal.SIGUSR1, handle)
    start = clock()
    for count in range(1, n + 1):
        os.kill(os.getpid(), signal.SIGUSR1)
        while came < count:
            pass
    took = clock() - start
    signal.signal(signal.SIGUSR1, before)
    assert came == n
    return took


def _over(listener, family, n):
    def serve():
        connection, _ = listener.accept()
        with connection:
            _echo(connection.recv, connection.sendall)

    server = threading.Thread(target=serve)
    server.start()
    with socket.socket(family) as client:
        client.connect(listener.getsockname())
        took = _trips(client.recv, client.sendall, n)
    server.join()
    listener.close()
    return took


def unix_trip(n):
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(Path(folder) / "socket"))
        listener.listen()
        return _over(listener, socket.AF_UNIX, n)


def tcp_trip(n):
    return _over(socket.create_server(("127.0.0.1", 0)), socket.AF_INET, n)


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
