# /// script
# requires-python = ">=3.11"
# dependencies = ["redis>=7", "uvloop>=0.22"]
# [tool.c10k]
# framework = "uvloop"
# title = "uvloop, redis.asyncio"
# model = "coroutines"
# unit = "task"
# tier = "backend"
# needs = "redis"
# notes = [{ python = ">=3.11", text = "asks Redis by a pool of 32 connections" }]
# ///
"""Streams of asyncio on uvloop, whose handlers ask Redis by redis.asyncio.

Each question is an await: the other clients go on while Redis, or the pool, is waited for.
"""

import asyncio
import os
import re
import socket

import redis.asyncio as redis
import uvloop

SLOW = re.compile(rb"!wait (\d{1,4})\n")


async def answer(db, data):
    if data.startswith(b"!plain"):
        return data
    if request := SLOW.fullmatch(data):
        await db.blpop("never", timeout=int(request[1]) / 1000)
        return data
    return await db.echo(data)


async def echo(db, reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(await answer(db, data))
            await writer.drain()
    except (OSError, redis.RedisError):
        pass  # this client left, or Redis did not answer it
    finally:
        writer.close()


async def main():
    pool = redis.BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=32)
    async with redis.Redis.from_pool(pool) as db:
        listener = socket.socket(fileno=0)
        server = await asyncio.start_server(
            lambda reader, writer: echo(db, reader, writer), sock=listener, backlog=4096
        )
        await server.serve_forever()


uvloop.run(main())
