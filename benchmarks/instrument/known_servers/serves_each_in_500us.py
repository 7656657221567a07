# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "a known time for each message"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes one message after another; each takes the time that is in the file's name.

The time of a message runs from its arrival, or from the end of the one before it, to the end of
its send, so messages of 64 bytes that arrive at random wait as in a queue M/D/1. Under the name
serves_each_in_100us_stalls_15ms_a_second.py it also does nothing for 15 ms of each second.
"""

import re
import select
import socket
import time
from pathlib import Path

NAME = Path(__file__).stem
SERVICE_NS = int(re.search(r"_in_(\d+)us", NAME)[1]) * 1000
STALL_NS = int(match[1]) * 1_000_000 if (match := re.search(r"stalls_(\d+)ms", NAME)) else 0
SEND_NS = 8_000  # about what a send takes; the rest of the time is waited before it
MESSAGE = 64

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
free_ns = time.perf_counter_ns()  # when the last message had its time
stall_ns = free_ns + 1_000_000_000
while True:
    ready = poller.poll(0)
    if not ready:  # no message waits: the time of the next one begins when it arrives
        ready = poller.poll()
        free_ns = time.perf_counter_ns()
    for descriptor, _ in ready:
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN)
            continue
        if STALL_NS and free_ns >= stall_ns:
            free_ns = max(free_ns, stall_ns + STALL_NS)
            stall_ns += 1_000_000_000
        try:
            data = clients[descriptor].recv(65536)
            whole = max(1, len(data) // MESSAGE)
            until_ns = free_ns + whole * SERVICE_NS
            while data and time.perf_counter_ns() < until_ns - SEND_NS:
                pass
            clients[descriptor].sendall(data)
            free_ns = max(until_ns, time.perf_counter_ns()) if data else free_ns
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
