# /// script
# requires-python = ">=3.11"
# dependencies = ["curio==1.6", "redis>=7"]
# [tool.c10k]
# framework = "curio"
# title = "curio, redis-py in threads"
# model = "coroutines"
# unit = "task"
# tier = "backend"
# needs = "redis"
# notes = [{ python = ">=3.11", text = "no driver: asks Redis in threads (a pool of 32)" }]
# ///
"""curio's sockets, whose handlers ask Redis by redis-py in threads: curio has no driver.

run_in_thread is curio's own way out for what blocks: the other clients go on while a thread
waits for Redis. It has 64 threads at most, and the pool half as many connections.
"""

import os
import re
import ssl
from multiprocessing import connection

import redis

# curio 1.6 looks up four names that newer Pythons hide or dropped; they serve channels and
# TLS, and an echo needs neither. They are lent for the import and taken back after it.
names = {(connection, name): b"" for name in ("CHALLENGE", "WELCOME", "FAILURE")}
names[ssl, "wrap_socket"] = ssl.SSLContext.wrap_socket
lent = {place: value for place, value in names.items() if not hasattr(*place)}
for place, value in lent.items():
    setattr(*place, value)
from curio import run, run_in_thread, sleep, socket, spawn  # noqa: E402

for place in lent:
    delattr(*place)

SLOW = re.compile(rb"!wait (\d{1,4})\n")

pool = redis.BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=32)
db = redis.Redis.from_pool(pool)


async def answer(data):
    if data.startswith(b"!plain"):
        return data
    if request := SLOW.fullmatch(data):
        await run_in_thread(db.blpop, "never", int(request[1]) / 1000)
        return data
    return await run_in_thread(db.echo, data)


async def echo(client):
    async with client:
        try:
            while data := await client.recv(65536):
                await client.sendall(await answer(data))
        except (OSError, redis.RedisError):
            pass  # this client left, or Redis did not answer it


async def main():
    listener = socket.socket(fileno=0)
    while True:
        try:
            client, _ = await listener.accept()
            await spawn(echo, client, daemon=True)
        except OSError:  # out of descriptors: let a client leave first
            await sleep(0.01)


run(main)
