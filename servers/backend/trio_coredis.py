# /// script
# requires-python = ">=3.11"
# dependencies = ["coredis>=6", "trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio, coredis"
# model = "structured concurrency"
# unit = "task"
# tier = "backend"
# needs = "redis"
# notes = [{ python = ">=3.11", text = "asks Redis by a pool of 32 connections" }]
# ///
"""trio's streams, whose handlers ask Redis by coredis, which runs on trio from its version 6 on.

Each question is an await: the other clients go on while Redis, or the pool, is waited for.
"""

import os
import re
from functools import partial

import trio
from coredis import Redis
from coredis.exceptions import RedisError

SLOW = re.compile(rb"!wait (\d{1,4})\n")


async def answer(db, data):
    if data.startswith(b"!plain"):
        return data
    if request := SLOW.fullmatch(data):
        await db.blpop(["never"], timeout=int(request[1]) / 1000)
        return data
    return await db.echo(data)


async def echo(db, stream):
    try:
        async for data in stream:  # at most 64 KiB at a time
            await stream.send_all(await answer(db, data))
    except (trio.BrokenResourceError, RedisError):
        pass  # this client left, or Redis did not answer it


async def main():
    url = os.environ["REDIS_URL"]
    async with Redis.from_url(url, max_connections=32, decode_components=True) as db:
        listener = trio.SocketListener(trio.socket.socket(fileno=0))
        await trio.serve_listeners(partial(echo, db), [listener])


trio.run(main)
