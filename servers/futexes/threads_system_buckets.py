# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "threads, the system's futex buckets"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""threads_sockets whose futexes are in the hash table of the whole system.

See README.md beside it.
"""

import ctypes
import os
import socket
import threading
import time

PR_FUTEX_HASH, SET_SLOTS = 78, 1  # linux/prctl.h, from Linux 6.16 on
SLOTS = 0  # none of its own


def echo(client):
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass  # this client left; the others have threads of their own


libc = ctypes.CDLL(None, use_errno=True)
arguments = [ctypes.c_ulong(each) for each in (SET_SLOTS, SLOTS, 0, 0)]
if libc.prctl(PR_FUTEX_HASH, *arguments):
    raise SystemExit(f"no private futex hash (Linux 6.16): {os.strerror(ctypes.get_errno())}")

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
