# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "touches a page of 2 MiB a client"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes at once, and for each client touches one page of a stretch of 2 MiB.

The entries of 512 pages, 2 MiB, fill a page of the kernel's tables. So a client costs 4 KiB
of the process's own memory, and 4 KiB of page tables.
"""

import mmap
import select
import socket

STRETCH_BYTES = 2 * 1024 * 1024


def touched():
    """A stretch of addresses, one page of which is there."""
    memory = mmap.mmap(-1, STRETCH_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[0] = 1
    return memory


listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
while True:
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client, touched()
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
