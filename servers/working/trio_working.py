# /// script
# requires-python = ">=3.11"
# dependencies = ["trio>=0.30"]
# [tool.c10k]
# framework = "trio"
# title = "trio at work"
# model = "structured concurrency"
# unit = "task"
# tier = "variant"
# notes = [{ python = ">=3.11", text = "trio.to_thread runs at most 40 threads by default" }]
# ///
"""trio's streams, with handlers that wait, block and compute.

Only a checkpoint lets the other clients go on: time.sleep and a computation have none.
The way out is trio.to_thread.run_sync.
"""

import ctypes
import hashlib
import re
import time

import trio

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
            await trio.sleep(seconds)
        case b"offload":
            await trio.to_thread.run_sync(time.sleep, seconds)
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
            await trio.sleep(seconds)
            del kept


async def echo(stream):
    try:
        async for data in stream:  # at most 64 KiB at a time
            if request := REQUEST.fullmatch(data):
                await work(request)
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # this client left; uncaught, it would cancel the whole nursery


async def main():
    listener = trio.SocketListener(trio.socket.socket(fileno=0))
    await trio.serve_listeners(echo, [listener])


trio.run(main)
