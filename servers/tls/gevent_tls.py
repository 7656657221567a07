# /// script
# requires-python = ">=3.11"
# dependencies = ["gevent>=25"]
# [tool.c10k]
# framework = "gevent"
# title = "gevent, TLS"
# model = "greenlets"
# unit = "greenlet"
# tier = "tls"
# tls = true
# ///
"""gevent's StreamServer with an SSL context: one greenlet per client, handshake included.

The unit of concurrency is a greenlet. It switches inside the handshake, recv and sendall,
wherever gevent's socket would have to wait; the hub, a libev loop, resumes it.
"""

import os

from gevent import socket, ssl
from gevent.server import StreamServer

# gevent's own context: create_default_context makes the standard library's, which blocks.
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ["C10K_CERTIFICATE"], os.environ["C10K_KEY"])


def echo(client, address):
    try:
        while data := client.recv(65536):
            client.sendall(data)
    except OSError:
        pass  # this client left; StreamServer closes its socket


StreamServer(socket.socket(fileno=0), echo, ssl_context=context).serve_forever()
