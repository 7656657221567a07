# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "waits for more"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes messages of 64 bytes, and waits for the rest of one with everybody else waiting, too."""

import select
import socket

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
while True:
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN)
            continue
        client = clients[descriptor]
        try:
            size = 1 if client.recv(1, socket.MSG_PEEK) == b"?" else 64  # as the launcher sends it
            data = client.recv(size, socket.MSG_WAITALL)
            client.sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
