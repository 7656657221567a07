# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "threads, TLS"
# model = "thread per client"
# unit = "thread"
# tier = "tls"
# tls = true
# ///
"""One listener and one thread per client, which also makes the handshake.

The unit of concurrency is an operating-system thread. It switches wherever the kernel
or the interpreter's lock decides: when recv or sendall waits, and in OpenSSL, which
computes without the lock.
"""

import os
import socket
import ssl
import threading
import time

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(os.environ["C10K_CERTIFICATE"], os.environ["C10K_KEY"])


def echo(client):
    try:
        with context.wrap_socket(client, server_side=True) as stream:  # the handshake
            while data := stream.recv(65536):
                stream.sendall(data)
    except OSError:
        pass  # this client left, or does not speak TLS
    finally:
        client.close()


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
