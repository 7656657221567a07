# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "spins at its limit"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Out of descriptors it tries again at once, and says so each time."""

import socket
import sys
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
    try:
        client, _ = listener.accept()
    except OSError as error:
        print(error, file=sys.stderr)
        continue
    threading.Thread(target=echo, args=(client,), daemon=True).start()
