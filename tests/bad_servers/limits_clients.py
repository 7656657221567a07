# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "limits what a client may send"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Leaves a client that has sent more than 60,000 bytes, as if it were an attack."""

import socket
import threading


def echo(client):
    total = 0
    with client:
        try:
            while (data := client.recv(65536)) and (total := total + len(data)) <= 60_000:
                client.sendall(data)
        except OSError:
            pass


listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
