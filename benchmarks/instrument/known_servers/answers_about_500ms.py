# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "answers after drawn delays"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Echoes each message after a delay of its own, on the average that of its file name.

The delay is drawn evenly between three and five quarters of that, so the clients soon
stand everywhere in their round trips, each independent of the others, and by the renewal
theorem N of them send N / delay messages a second. Links under other names
(answers_about_50ms.py) are the same file.
"""

import contextlib
import heapq
import random
import re
import select
import socket
import time
from pathlib import Path

DELAY_NS = int(re.search(r"(\d+)ms$", Path(__file__).stem)[1]) * 1_000_000
delays = random.Random(1)

listener = socket.socket(fileno=0)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients = {}
answers = []  # a heap: when due (ns), to whom, what
while True:
    left_ns = answers[0][0] - time.perf_counter_ns() if answers else -1
    if not answers:
        ready = poller.poll()
    else:  # a timer is a millisecond coarse: the last two are spent polling
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
            due_ns = now_ns + round(DELAY_NS * delays.uniform(0.75, 1.25))
            heapq.heappush(answers, (due_ns, descriptor, data))
        else:
            clients.pop(descriptor).close()
    while answers and answers[0][0] <= time.perf_counter_ns():
        _, descriptor, data = heapq.heappop(answers)
        if descriptor in clients:
            with contextlib.suppress(OSError):  # this client may have left
                clients[descriptor].sendall(data)
