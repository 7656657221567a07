# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "answers all at once"
# model = "readiness loop"
# unit = "file descriptor"
# tier = "variant"
# ///
"""Lock-step: answers all clients at once, once in as long as its file name states.

At each tick of its clock it echoes whatever has come since the last one. A client that sends
its next message when the echo has come is answered at every tick, so its round trip is the
time between two. Links under other names (answers_all_every_50ms.py) are the same file.
"""

import re
import select
import socket
import time
from pathlib import Path

EVERY_NS = int(re.search(r"(\d+)ms$", Path(__file__).stem)[1]) * 1_000_000

listener = socket.socket(fileno=0)
accepting = select.epoll()
accepting.register(listener, select.EPOLLIN)
talking = select.epoll()
clients = {}
while True:
    tick_ns = (time.perf_counter_ns() // EVERY_NS + 1) * EVERY_NS
    while (left_ns := tick_ns - time.perf_counter_ns()) > 0:
        for _ in accepting.poll(left_ns / 1e9):
            client, _ = listener.accept()
            clients[client.fileno()] = client
            talking.register(client, select.EPOLLIN)
    for descriptor, _ in talking.poll(0, len(clients) + 1):
        try:
            data = clients[descriptor].recv(65536)
            clients[descriptor].sendall(data)
        except OSError:
            data = b""
        if not data:
            clients.pop(descriptor).close()
