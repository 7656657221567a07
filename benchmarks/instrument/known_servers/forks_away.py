# /// script
# requires-python = ">=3.11"
# [tool.c10k]
# title = "forks away"
# model = "one client"
# unit = "process"
# tier = "variant"
# ///
"""Serves one client at a time, with a child beside it and another in a session of its own."""

import os
import signal
import socket

for leaves in (False, True):
    if os.fork() == 0:
        if leaves:
            os.setsid()
        while True:
            signal.pause()

listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    with client:
        while data := client.recv(65536):
            client.sendall(data)
