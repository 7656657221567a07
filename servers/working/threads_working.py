# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "threads at work"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# notes = [{ python = ">=3.11", text = "offloads nothing: each client has a thread" }]
# ///
"""One thread per client, with handlers that wait, block and compute.

A thread may block: the others go on, so it needs no other way out. While it computes in
Python it holds the interpreter's lock, and gives it up every 5 ms when another wants it.
"""

import ctypes
import hashlib
import re
import socket
import threading
import time

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
        case b"wait" | b"block" | b"offload":
            time.sleep(seconds)
        case b"call":
            call(seconds)
        case b"hold":
            hold(seconds)
        case b"free":
            free(seconds)
        case b"keep":
            kept = b"k" * (int(kib) * 1024)
            time.sleep(seconds)
            del kept


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                if request := REQUEST.fullmatch(data):
                    work(request)
                client.sendall(data)
        except OSError:
            pass  # this client left; the others have threads of their own


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
