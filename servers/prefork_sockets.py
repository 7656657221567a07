# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "pre-forked workers, threads"
# model = "thread per client in several processes"
# unit = "thread"
# tier = "variant"
# ///
"""A master that forks its workers before the first client, as gunicorn does; each accepts.

The unit of concurrency is an operating-system thread, in the worker that accepted its client.
It switches wherever the kernel or that worker's lock decides: here, when recv or sendall waits.
After https://docs.gunicorn.org/en/stable/design.html: the workers share one listener, the
master only replaces those that end, and there are 2 x cores + 1 of them. Modelled is the
`gthread` worker, whose clients can stay: `sync`, the default, serves one client at a time,
and others would wait for as long as it stays. Unlike gthread's, the threads are not bounded.
"""

import os
import signal
import socket
import sys
import threading
import time


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass  # this client left; the others have threads of their own


def work():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the master's
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # out of descriptors: let a client leave first
            time.sleep(0.01)
            continue
        try:
            threading.Thread(target=echo, args=(client,), daemon=True).start()
        except RuntimeError:  # out of threads: this client is turned away
            client.close()


def forked():
    return os.fork() or work()


listener = socket.socket(fileno=0)
workers = {forked() for _ in range(2 * len(os.sched_getaffinity(0)) + 1)}
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    while True:
        workers.remove(os.wait()[0])
        workers.add(forked())
finally:
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
