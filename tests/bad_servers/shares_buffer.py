# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "one buffer for all"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Reads every client into the same buffer and writes it back a turn later."""

import select
import socket

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
buffer = bytearray(65536)
clients, waiting = {}, {}
while True:
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN)
            continue
        client = clients[descriptor]
        try:
            if descriptor in waiting:
                client.sendall(buffer[: waiting.pop(descriptor)])
                poller.modify(client, select.EPOLLIN)
            elif size := client.recv_into(buffer):
                waiting[descriptor] = size
                poller.modify(client, select.EPOLLOUT)
            else:
                clients.pop(descriptor).close()
        except OSError:
            waiting.pop(descriptor, None)
            clients.pop(descriptor).close()
