# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "a megabyte of complaints"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Serves well, and prints a megabyte on standard error when it starts."""

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


print("first", *["complaint"] * 100_000, "last", file=sys.stderr)
listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
