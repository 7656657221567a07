# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "never reads after half-close"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Takes a client's end of stream for its leaving: what was not read or sent yet is lost."""

import select
import socket

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
while True:
    for descriptor, event in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN | select.EPOLLRDHUP)
            continue
        client = clients[descriptor]
        try:
            data = b"" if event & select.EPOLLRDHUP else client.recv(65536)
            client.sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
