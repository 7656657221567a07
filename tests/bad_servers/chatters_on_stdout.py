# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "chatters"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Greets every client on standard output."""

import socket
import threading


def echo(client):
    print("hello")
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
