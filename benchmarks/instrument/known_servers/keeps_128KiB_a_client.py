# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "keeps 128 KiB a client"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes at once, and holds as much memory for each client as its file name states.

Links under other names (keeps_0KiB_a_client.py) are the same file.
"""

import mmap
import re
import select
import socket
from pathlib import Path

KEPT_BYTES = int(re.search(r"(\d+)KiB", Path(__file__).stem)[1]) * 1024


def touched(size):
    """Memory of its own for one client, every page of it written to."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if size else b""
    for start in range(0, size, mmap.PAGESIZE):
        memory[start] = 1
    return memory


listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
while True:
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client, touched(KEPT_BYTES)
            poller.register(client, select.EPOLLIN)
            continue
        client, _ = clients[descriptor]
        try:
            data = client.recv(65536)
            client.sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor)
            client.close()
