# /// script
# requires-python = ">=3.11"
# dependencies = ["redis>=7"]
# [tool.c10k]
# framework = "redis"
# title = "asyncio, plain redis-py"
# model = "coroutines"
# unit = "task"
# tier = "backend"
# needs = "redis"
# notes = [{ python = ">=3.11", text = "blocks its loop while it asks Redis (a pool of 32)" }]
# ///
"""Streams of asyncio, whose handlers ask Redis by plain redis-py: the mistake that is measured.

The driver's calls look alike, but none of them is an await: nobody is served while Redis
answers.
"""

import asyncio
import os
import re
import socket

import redis

SLOW = re.compile(rb"!wait (\d{1,4})\n")

pool = redis.BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=32)
db = redis.Redis.from_pool(pool)


def answer(data):
    if data.startswith(b"!plain"):
        return data
    if request := SLOW.fullmatch(data):
        db.blpop("never", timeout=int(request[1]) / 1000)
        return data
    return db.echo(data)


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(answer(data))
            await writer.drain()
    except (OSError, redis.RedisError):
        pass  # this client left, or Redis did not answer it
    finally:
        writer.close()


async def main():
    listener = socket.socket(fileno=0)
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
