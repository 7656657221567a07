# /// script
# requires-python = ">=3.11"
# dependencies = ["gevent>=25"]
# [tool.c10k]
# framework = "gevent"
# title = "gevent at work"
# model = "greenlets"
# unit = "greenlet"
# tier = "variant"
# notes = [{ python = ">=3.11", text = "the hub's default pool has at most 10 threads" }]
# ///
"""gevent's StreamServer, with handlers that wait, block and compute.

Only gevent's own calls let the other clients go on: time.sleep, unpatched, does not (see
gevent_patched.py). The way out is the hub's pool of threads.
"""

import ctypes
import hashlib
import re
import time

import gevent
from gevent import socket
from gevent.server import StreamServer

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


def work(request):
    name, milliseconds, kib = request.groups(b"0")
    seconds = float(milliseconds) / 1000
    match name:
        case b"wait":
            gevent.sleep(seconds)
        case b"offload":
            gevent.get_hub().threadpool.apply(time.sleep, (seconds,))
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
            gevent.sleep(seconds)
            del kept


def echo(client, address):
    try:
        while data := client.recv(65536):
            if request := REQUEST.fullmatch(data):
                work(request)
            client.sendall(data)
    except OSError:
        pass  # this client left; StreamServer closes its socket


StreamServer(socket.socket(fileno=0), echo).serve_forever()
