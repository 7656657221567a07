# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "selectors, a loop per core"
# model = "readiness loops in threads"
# unit = "socket"
# tier = "variant"
# ///
"""A bounded pool of threads, one per core: each is a bare readiness loop for all its clients.

The unit of concurrency is a socket. Control switches when a thread's loop turns to the next
socket that is ready, and between threads where the kernel or the interpreter's lock decides.
All threads accept from one listener, and a client stays with the thread that accepted it. A
client that has not taken its echo is not read from.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector


def accept(ready, key):
    try:
        with suppress(BlockingIOError):  # another thread has it
            client, _ = key.fileobj.accept()
            client.setblocking(False)
            ready.register(client, EVENT_READ, b"")
    except OSError:  # out of descriptors: let a client leave first
        time.sleep(0.01)


def echo(ready, key):
    client, data, sent = key.fileobj, key.data, 0  # data: what it has not taken yet
    try:
        data = data or client.recv(65536)
        with suppress(BlockingIOError):
            sent = client.send(data)
    except OSError:
        data = b""
    if not data:  # this client left
        ready.unregister(client)
        client.close()
    elif sent < len(data):
        ready.modify(client, EVENT_WRITE, data[sent:])
    elif key.data:
        ready.modify(client, EVENT_READ, b"")


def serve(ready):
    ready.register(listener, EVENT_READ)
    while True:
        for key, _ in ready.select():
            handle = accept if key.fileobj is listener else echo
            handle(ready, key)


listener = socket.socket(fileno=0)
listener.setblocking(False)
for _ in os.sched_getaffinity(0):
    threading.Thread(target=serve, args=(DefaultSelector(),)).start()
