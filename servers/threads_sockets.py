# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "threads"
# model = "thread per client"
# unit = "thread"
# tier = "canonical"
# ///
"""One listener and one thread per client.

The unit of concurrency is an operating-system thread. It switches wherever the kernel
or the interpreter's lock decides: here, when recv or sendall waits.
"""

import socket
import threading
import time


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass  # this client left; the others have threads of their own


listener = socket.socket(fileno=0)
while True:
    try:
        client, _ = listener.accept()
    except OSError:  # out of descriptors: let a client leave first
        time.sleep(0.01)
        continue
    try:
        threading.Thread(target=echo, args=(client,), daemon=True).start()
    except RuntimeError:  # out of threads: this client is turned away
        client.close()
