# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "expects IPv4"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Takes every address for a host and a port."""

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
while True:
    client, (host, port) = listener.accept()
    threading.Thread(target=echo, args=(client,), name=f"{host} {port}", daemon=True).start()
