# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "thread pool"
# model = "bounded thread pool"
# unit = "thread"
# tier = "variant"
# ///
"""One listener and a pool of 256 threads: a client that finds all busy waits for one.

The unit of concurrency is an operating-system thread, and there are never more than the
pool has. It switches wherever the kernel or the interpreter's lock decides: here, when
recv or sendall waits.
"""

import socket
import time
from concurrent.futures import ThreadPoolExecutor


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass  # this client left; its thread takes the next


listener = socket.socket(fileno=0)
pool = ThreadPoolExecutor(256)
while True:
    try:
        client, _ = listener.accept()
    except OSError:  # out of descriptors: let a client leave first
        time.sleep(0.01)
        continue
    pool.submit(echo, client)
