# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "accepts one a time"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Is told once of new clients (edge-triggered), and accepts one of them."""

import select
import socket

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN | select.EPOLLET)
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
            data = client.recv(65536)
            client.sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
