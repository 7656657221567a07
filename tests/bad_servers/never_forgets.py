# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "never forgets"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Keeps what each client sent last, for ever."""

import socket
import threading

history = []


def echo(client):
    buffer = bytearray(65536)
    history.append(buffer)
    with client:
        try:
            while size := client.recv_into(buffer):
                client.sendall(buffer[:size])
        except OSError:
            pass


listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
