# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "dies in service"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Ends, with a last word, when a client has sent more than 500,000 bytes."""

import os
import socket
import sys
import threading


def echo(client):
    total = 0
    with client:
        try:
            while data := client.recv(65536):
                total += len(data)
                if total > 500_000:
                    print("the last word", file=sys.stderr)
                    os._exit(3)
                client.sendall(data)
        except OSError:
            pass


listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
