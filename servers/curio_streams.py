# /// script
# requires-python = ">=3.11"
# dependencies = ["curio==1.6"]
# [tool.c10k]
# framework = "curio"
# title = "curio streams"
# model = "coroutines"
# unit = "task"
# python = "3.11"
# tier = "variant"
# notes = [{ python = ">=3.12", text = "curio 1.6 predates this Python: imported through a shim" }]
# ///
"""curio's streams: one coroutine per client, reading and writing a stream over its socket.

The unit of concurrency is a task. It switches at await, inside accept, read and write,
when the operation would have to wait.
"""

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
    async with client.as_stream() as stream:
        try:
            while data := await stream.read(65536):
                await stream.write(data)
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
