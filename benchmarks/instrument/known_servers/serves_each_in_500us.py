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

The time runs from the message's receive to the end of its send, so messages of 64 bytes that
arrive at random wait as in a queue M/D/1. Under the name
serves_each_in_200us_stalls_15ms_a_second.py it also does nothing for 15 ms of each second.
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
    for descriptor, _ in poller.poll():
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN)
            continue
        begun_ns = time.perf_counter_ns()
        if STALL_NS and begun_ns >= stall_ns:
            while time.perf_counter_ns() < stall_ns + STALL_NS:
                pass
            stall_ns += 1_000_000_000
            begun_ns = time.perf_counter_ns()
        try:
            data = clients[descriptor].recv(65536)
            whole = max(1, len(data) // MESSAGE)
            until_ns = begun_ns + whole * SERVICE_NS - SEND_NS
            while data and time.perf_counter_ns() < until_ns:
                pass
            clients[descriptor].sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
