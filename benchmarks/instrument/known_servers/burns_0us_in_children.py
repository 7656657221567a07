# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "burns in children"
# model = "process per client"
# unit = "process"
# tier = "variant"
# ///
"""A process per client; each burns as many µs of CPU time per message as its file name states.

The process that was started only forks and waits for those that have ended. Links under
other names (burns_200us_in_children.py) are the same file.
"""

import os
import re
import signal
import socket
import time
from pathlib import Path

BURN_NS = int(re.search(r"(\d+)us", Path(__file__).stem)[1]) * 1000


def burn():
    """Takes CPU time of its own, however often it is interrupted."""
    end_ns = time.thread_time_ns() + BURN_NS
    while time.thread_time_ns() < end_ns:
        pass


def echo(client):
    while data := client.recv(65536):
        burn()
        client.sendall(data)


def reap(number, frame):
    """Waits for every child that has ended: its CPU time becomes its parent's."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


signal.signal(signal.SIGCHLD, reap)
listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        try:
            echo(client)
        finally:
            os._exit(0)
    client.close()
