# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "ignores SIGTERM"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Ignores SIGTERM, and has a child that does the same; tells its number on standard error."""

import os
import signal
import socket
import sys
import threading
import time


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass


signal.signal(signal.SIGTERM, signal.SIG_IGN)
if child := os.fork():
    print("child", child, file=sys.stderr)
else:
    time.sleep(600)
listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
