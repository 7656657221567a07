# /// script
# requires-python = ">=3.11"
# dependencies = ["redis>=7"]
# [tool.c10k]
# framework = "redis"
# title = "threads, redis-py"
# model = "thread per client"
# unit = "thread"
# tier = "backend"
# needs = "redis"
# notes = [{ python = ">=3.11", text = "asks Redis by a pool of 32 connections" }]
# ///
"""One thread per client, each of which asks Redis by redis-py and waits for the answer.

A thread may block: while it waits for Redis, or for one of the pool's connections, the
others go on.
"""

import os
import re
import socket
import threading
import time

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


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(answer(data))
        except (OSError, redis.RedisError):
            pass  # this client left, or Redis did not answer it


listener = socket.socket(fileno=0)
while True:
    try:
        client, _ = listener.accept()
    except OSError:  # out of descriptors: let a client leave first
        time.sleep(0.01)
        continue
    try:
        threading.Thread(target=echo, args=(client,), daemon=True).start()
    except RuntimeError:  # out of threads: this client is turned away
        client.close()
