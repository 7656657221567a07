# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "accepts 150 clients"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes for the first 150 clients; whoever comes then waits in the accept queue for ever."""

import select
import socket

LIMIT = 150 + 1  # the launcher has a look first

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
accepted = 0
while True:
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN)
            accepted += 1
            if accepted == LIMIT:
                poller.unregister(listener)
            continue
        try:
            data = clients[descriptor].recv(65536)
            clients[descriptor].sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
