# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "listens again"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Listens again, with a backlog of its own."""

import socket
import threading


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass


listener = socket.socket(fileno=0)
listener.listen(100)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
