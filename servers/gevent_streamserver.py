# /// script
# requires-python = ">=3.11"
# dependencies = ["gevent>=25"]
# [tool.c10k]
# framework = "gevent"
# title = "gevent"
# model = "greenlets"
# unit = "greenlet"
# tier = "canonical"
# ///
"""gevent's StreamServer: one greenlet per client, written as if it blocked.

The unit of concurrency is a greenlet. It switches inside recv and sendall, wherever
gevent's socket would have to wait; the hub, a libev loop, resumes it.
"""

from gevent import socket
from gevent.server import StreamServer


def echo(client, address):
    try:
        while data := client.recv(65536):
            client.sendall(data)
    except OSError:
        pass  # this client left; StreamServer closes its socket


StreamServer(socket.socket(fileno=0), echo).serve_forever()
