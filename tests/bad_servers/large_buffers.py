# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "large buffers"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Gives itself larger buffers and larger reads than the others have."""

import socket
import threading


def echo(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with client:
        try:
            while data := client.recv(1 << 20):
                client.sendall(data)
        except OSError:
            pass


listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
