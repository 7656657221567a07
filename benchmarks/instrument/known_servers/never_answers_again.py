# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "never answers again"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Echoes each client's first message, and reads nothing more from it."""

import socket
import threading


def echo(client):
    client.sendall(client.recv(65536))


listener = socket.socket(fileno=0)
kept = []
while True:
    client, _ = listener.accept()
    kept.append(client)
    threading.Thread(target=echo, args=(client,), daemon=True).start()
