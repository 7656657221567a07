# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# framework = "echo-plug-in"
# title = "a plug-in's threads"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""A contender that another package brings: one thread per client.

The unit of concurrency is a thread. It switches wherever the interpreter lets another run.
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
    except OSError:  # out of descriptors: let someone leave first
        time.sleep(0.01)
        continue
    try:
        threading.Thread(target=echo, args=(client,), daemon=True).start()
    except RuntimeError:  # out of threads: this client is turned away
        client.close()
