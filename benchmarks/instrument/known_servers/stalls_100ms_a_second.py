# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "stalls at known times"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes at once, but for the first 100 ms of every second of its clock: then it does nothing.

Its file name states both times; links under other names (stalls_20ms_every_200ms.py) are the
same file. A message that comes x ms after the stall began waits 100 - x ms. Arrivals that do
not wait for echoes meet the stall in a tenth of all cases.
"""

import re
import select
import socket
import time
from pathlib import Path

STATED = re.search(r"stalls_(\d+)ms_(?:a_second|every_(\d+)ms)$", Path(__file__).stem)
STALL_NS, EVERY_NS = (int(each or 1000) * 1_000_000 for each in STATED.groups())


def stall():
    """Returns when the clock is outside the stall; its end is met to a few µs."""
    while (into_ns := time.perf_counter_ns() % EVERY_NS) < STALL_NS:
        time.sleep(max(STALL_NS - into_ns - 2_000_000, 0) / 1e9)


listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
while True:
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN)
            continue
        stall()
        try:
            data = clients[descriptor].recv(65536)
            clients[descriptor].sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
