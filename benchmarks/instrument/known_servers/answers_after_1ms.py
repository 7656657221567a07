# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "answers after a known delay"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes what it read after exactly the delay that its own file name states.

A timer is a millisecond coarse, so the last two milliseconds are spent polling. Links
under other names (answers_after_10ms.py) are the same file.
"""

import contextlib
import re
import select
import socket
import time
from collections import deque
from pathlib import Path

DELAY_NS = int(re.search(r"(\d+)ms$", Path(__file__).stem)[1]) * 1_000_000

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
answers = deque()  # when due (ns), to whom, what: in order, as the delay is the same for all
while True:
    left_ns = answers[0][0] - time.perf_counter_ns() if answers else -1
    if not answers:
        ready = poller.poll()
    else:
        ready = poller.poll((left_ns - 2_000_000) // 1_000_000 / 1000 if left_ns > 3_000_000 else 0)
    now_ns = time.perf_counter_ns()
    for descriptor, _ in ready:
        if descriptor == listener.fileno():
            client, _ = listener.accept()
            clients[client.fileno()] = client
            poller.register(client, select.EPOLLIN)
            continue
        try:
            data = clients[descriptor].recv(65536)
        except OSError:
            data = b""
        if data:
            answers.append((now_ns + DELAY_NS, descriptor, data))
        else:
            clients.pop(descriptor).close()
    while answers and answers[0][0] <= time.perf_counter_ns():
        _, descriptor, data = answers.popleft()
        if descriptor in clients:
            with contextlib.suppress(OSError):  # this client may have left
                clients[descriptor].sendall(data)
