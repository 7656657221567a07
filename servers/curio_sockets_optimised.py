# /// script
# requires-python = ">=3.11"
# dependencies = ["curio==1.6"]
# [tool.c10k]
# framework = "curio"
# title = "curio, python -O"
# model = "coroutines"
# unit = "task"
# python = "3.11"
# tier = "variant"
# notes = [{ python = ">=3.12", text = "curio 1.6 predates this Python: imported through a shim" }]
# ///
"""curio's sockets, started again by itself with `python -O`, which leaves assertions out.

The unit of concurrency is a task. It switches at await, inside accept, recv and sendall,
when the operation would have to wait. What differs from curio_sockets is one line of curio:
its kernel asserts `task not in ready` for every task that it wakes, a search through all
tasks woken in the same turn, so a turn's cost grows with the square of their number.
"""

import os
import sys

if __debug__:
    os.execv(sys.executable, [sys.executable, "-O", *sys.orig_argv[1:]])

import ssl
from multiprocessing import connection

# curio 1.6 looks up four names that newer Pythons hide or dropped; they serve channels and
# TLS, and an echo needs neither. They are lent for the import and taken back after it.
names = {(connection, name): b"" for name in ("CHALLENGE", "WELCOME", "FAILURE")}
names[ssl, "wrap_socket"] = ssl.SSLContext.wrap_socket
lent = {place: value for place, value in names.items() if not hasattr(*place)}
for place, value in lent.items():
    setattr(*place, value)
from curio import run, sleep, socket, spawn  # noqa: E402

for place in lent:
    delattr(*place)


async def echo(client):
    async with client:
        try:
            while data := await client.recv(65536):
                await client.sendall(data)
        except OSError:
            pass  # this client left


async def main():
    listener = socket.socket(fileno=0)
    while True:
        try:
            client, _ = await listener.accept()
            await spawn(echo, client, daemon=True)
        except OSError:  # out of descriptors: let a client leave first
            await sleep(0.01)


run(main)
