# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "threads that hash"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Hashes 1 MiB for each message that it echoes, with a thread for each client.

hashlib releases the interpreter's lock while it hashes, so the threads keep as many cores busy
as the server may use.
"""

import contextlib
import hashlib
import socket
import threading

BUFFER = bytes(1 << 20)


def echo(client):
    with client, contextlib.suppress(OSError):
        while data := client.recv(65536):
            hashlib.sha256(BUFFER)
            client.sendall(data)


listener = socket.socket(fileno=0)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
