# /// script
# requires-python = ">=3.11"
# dependencies = ["uvloop>=0.22"]
# [tool.c10k]
# framework = "uvloop"
# title = "uvloop at work"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# notes = [{ python = ">=3.11", text = "asyncio's default pool has min(32, cores + 4) threads" }]
# ///
"""Streams of asyncio on uvloop's loop, with handlers that wait, block and compute.

Only an await lets the other clients go on: time.sleep and a computation do not. The way
out is asyncio.to_thread.
"""

import asyncio
import ctypes
import hashlib
import re
import socket
import time

import uvloop

REQUEST = re.compile(
    rb"!(wait|block|call|offload|hold|free|keep) (\d{1,4}(?:\.\d)?)(?: (\d{1,5}))?(?: #\S*)?\n"
)
BULK = bytes(1 << 16)
USLEEP = ctypes.CDLL(None).usleep  # C: a patch of Python does not reach it


def call(seconds):
    USLEEP(round(seconds * 1e6))


def hold(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def free(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(BULK).digest()


async def work(request):
    name, milliseconds, kib = request.groups(b"0")
    seconds = float(milliseconds) / 1000
    match name:
        case b"wait":
            await asyncio.sleep(seconds)
        case b"offload":
            await asyncio.to_thread(time.sleep, seconds)
        case b"block":
            time.sleep(seconds)  # the mistake that is measured
        case b"call":
            call(seconds)
        case b"hold":
            hold(seconds)
        case b"free":
            free(seconds)
        case b"keep":
            kept = b"k" * (int(kib) * 1024)
            await asyncio.sleep(seconds)
            del kept


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            if request := REQUEST.fullmatch(data):
                await work(request)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # this client left
    finally:
        writer.close()


async def main():
    listener = socket.socket(fileno=0)
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    await server.serve_forever()


uvloop.run(main())
