# /// script
# requires-python = ">=3.11"
# dependencies = ["eventlet>=0.40"]
# [tool.c10k]
# framework = "eventlet"
# title = "eventlet (historical)"
# model = "greenlets"
# unit = "greenlet"
# tier = "variant"
# [[tool.c10k.notes]]
# python = ">=3.11"
# text = """
# on import it says 'Eventlet is deprecated. It is currently being maintained in bugfix mode, \
# and we strongly recommend against using it for new projects.'"""
# ///
"""eventlet's serve: one greenlet per client, written as if it blocked.

The unit of concurrency is a greenlet. It switches inside recv and sendall, wherever
eventlet's socket would have to wait; the hub resumes it. After the echo server of
https://eventlet.readthedocs.io/en/latest/examples.html. Historical: on import it prints
to standard error that it is deprecated; its notes and https://pypi.org/project/eventlet/
say the same.
"""

import socket
import sys

import eventlet
from eventlet.greenio import GreenSocket


def echo(client, address):
    try:
        while data := client.recv(65536):
            client.sendall(data)
    except OSError:
        pass  # this client left; serve closes its socket


listener = GreenSocket(socket.socket(fileno=0))
while True:
    try:
        eventlet.serve(listener, echo, concurrency=sys.maxsize)  # else a thousand clients
    except OSError:  # out of descriptors: let a client leave first
        eventlet.sleep(0.01)
