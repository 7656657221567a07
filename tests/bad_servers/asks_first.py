# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "asks first"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Waits for a client's first words before it accepts the next one."""

import socket
import threading


def echo(client, data):
    with client:
        try:
            while data:
                client.sendall(data)
                data = client.recv(65536)
        except OSError:
            pass


listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    first = client.recv(65536)
    threading.Thread(target=echo, args=(client, first), daemon=True).start()
