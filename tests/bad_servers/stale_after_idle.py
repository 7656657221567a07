# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "stale after idling"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Answers the first message after a pause with bytes of the message before it."""

import socket
import threading


def echo(client):
    last, paused = b"", False
    client.settimeout(0.1)
    with client:
        while True:
            try:
                data = client.recv(65536)
            except TimeoutError:
                paused = True
                continue
            except OSError:
                return
            if not data:
                return
            client.settimeout(None)
            try:
                client.sendall((last + data)[: len(data)] if paused else data)
            except OSError:
                return
            client.settimeout(0.1)
            last, paused = data, False


listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
