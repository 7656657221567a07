# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "drops idle clients"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Leaves a client that has said nothing for 0.4 seconds."""

import socket
import threading


def echo(client):
    client.settimeout(0.4)
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass


listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
