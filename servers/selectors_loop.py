# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "selectors"
# model = "readiness loop"
# unit = "socket"
# tier = "variant"
# ///
"""The bare readiness loop that frameworks are built on: selectors, and nothing else.

The unit of concurrency is a socket. Control switches when the loop turns to the next
socket that is ready. A client that has not taken its echo is not read from.
"""

import socket
import time
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

ready = DefaultSelector()
waiting = {}  # client → what it has not taken yet


def accept(listener):
    try:
        client, _ = listener.accept()
        client.setblocking(False)
        ready.register(client, EVENT_READ, echo)
    except BlockingIOError:
        pass  # it has left again
    except OSError:  # out of descriptors: let a client leave first
        time.sleep(0.01)


def echo(client):
    data, sent = waiting.pop(client, b""), 0
    try:
        data = data or client.recv(65536)
        with suppress(BlockingIOError):
            sent = client.send(data)
    except OSError:
        data = b""
    if not data:  # this client left
        ready.unregister(client)
        client.close()
        return
    if sent < len(data):
        waiting[client] = data[sent:]
        ready.modify(client, EVENT_WRITE, echo)
    elif ready.get_key(client).events & EVENT_WRITE:
        ready.modify(client, EVENT_READ, echo)


listener = socket.socket(fileno=0)
listener.setblocking(False)
ready.register(listener, EVENT_READ, accept)
while True:
    for key, _ in ready.select():
        key.data(key.fileobj)
