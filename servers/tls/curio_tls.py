# /// script
# requires-python = ">=3.11"
# dependencies = ["curio==1.6"]
# [tool.c10k]
# framework = "curio"
# title = "curio, TLS"
# model = "coroutines"
# unit = "task"
# python = "3.11"
# notes = [{ python = ">=3.12", text = "curio 1.6 predates this Python: imported through a shim" }]
# tier = "tls"
# tls = true
# ///
"""curio's sockets in its SSL context: one coroutine per client, which makes the handshake.

The unit of concurrency is a task. It switches at await, inside the handshake, accept,
recv and sendall, when the operation would have to wait.
"""

import os
import ssl as standard
from multiprocessing import connection

# curio 1.6 looks up four names that newer Pythons hide or dropped; this echo uses none of
# them. They are lent for the import and taken back after it.
names = {(connection, name): b"" for name in ("CHALLENGE", "WELCOME", "FAILURE")}
names[standard, "wrap_socket"] = standard.SSLContext.wrap_socket
lent = {place: value for place, value in names.items() if not hasattr(*place)}
for place, value in lent.items():
    setattr(*place, value)
from curio import run, sleep, socket, spawn, ssl  # noqa: E402

for place in lent:
    delattr(*place)

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(os.environ["C10K_CERTIFICATE"], os.environ["C10K_KEY"])


async def echo(client):
    try:
        async with await context.wrap_socket(client, server_side=True) as stream:
            while data := await stream.recv(65536):
                await stream.sendall(data)
    except OSError:
        pass  # this client left, or does not speak TLS


async def main():
    listener = socket.socket(fileno=0)
    while True:
        try:
            client, _ = await listener.accept()
            await spawn(echo, client, daemon=True)
        except OSError:  # out of descriptors: let a client leave first
            await sleep(0.01)


run(main)
