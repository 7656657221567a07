# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "dies of resets"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Expects no error of any client."""

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
        if data := client.recv(65536):
            client.sendall(data)
        else:
            clients.pop(descriptor).close()
