# /// script
# requires-python = ">=3.11"
# dependencies = ["gevent>=25", "redis>=7"]
# [tool.c10k]
# framework = "gevent"
# title = "gevent, redis-py"
# model = "greenlets"
# unit = "greenlet"
# tier = "backend"
# needs = "redis"
# notes = [{ python = ">=3.11", text = "asks Redis by a pool of 32 connections" }]
# ///
"""gevent's StreamServer in a monkey-patched interpreter, where redis-py's sockets are gevent's.

The driver is that of threads_redis.py; the patch in the first two lines makes it wait as
gevent does.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import re  # noqa: E402
import socket  # noqa: E402

import redis  # noqa: E402
from gevent.server import StreamServer  # noqa: E402

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


def echo(client, address):
    try:
        while data := client.recv(65536):
            client.sendall(answer(data))
    except (OSError, redis.RedisError):
        pass  # this client left, or Redis did not answer it; StreamServer closes its socket


StreamServer(socket.socket(fileno=0), echo).serve_forever()
