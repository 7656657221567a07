# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "holds a thread a client"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Echoes with a thread for each client, which waits in the kernel.

Each has a kernel stack: 16 KiB on x86-64 and arm64 (THREAD_SIZE). Nothing else is kept on
purpose.
"""

import contextlib
import socket
import threading


def echo(client):
    with client, contextlib.suppress(OSError):
        while data := client.recv(65536):
            client.sendall(data)


listener = socket.socket(fileno=0)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
