# /// script
# requires-python = ">=3.11"
# dependencies = ["curio==1.6"]
# [tool.c10k]
# framework = "curio"
# title = "curio at work"
# model = "coroutines"
# unit = "task"
# tier = "variant"
# notes = [
#   { python = ">=3.12", text = "curio 1.6 predates this Python: imported through a shim" },
#   { python = ">=3.11", text = "curio.run_in_thread uses at most 64 threads by default" },
# ]
# ///
"""curio's sockets, with handlers that wait, block and compute.

Only an await that has to wait lets the other clients go on: time.sleep and a computation
do not. The way out is curio.run_in_thread.
"""

import ctypes
import hashlib
import re
import ssl
import time
from multiprocessing import connection

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
            await sleep(seconds)
        case b"offload":
            await run_in_thread(time.sleep, seconds)
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
            await sleep(seconds)
            del kept


async def echo(client):
    async with client:
        try:
            while data := await client.recv(65536):
                if request := REQUEST.fullmatch(data):
                    await work(request)
                await client.sendall(data)
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
