# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "socketserver, forking"
# model = "process per client"
# unit = "process"
# tier = "variant"
# ///
"""The standard library's socketserver: one listener and one forked process per client.

The unit of concurrency is an operating-system process. It switches wherever the kernel
decides: here, when recv or sendall waits. After the mix-ins of
https://docs.python.org/3/library/socketserver.html.
"""

import os
import signal
import socket
import socketserver
import sys


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except OSError:
            pass  # this client left; the others have processes of their own


class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
    max_children = sys.maxsize  # else forty clients

    def handle_error(self, request, client_address):
        pass  # out of processes: this client is turned away


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
server = Server(None, Echo, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=0)
try:
    server.serve_forever()
finally:  # a child never comes here: it ends within its request
    for child in server.active_children or ():
        os.kill(child, signal.SIGTERM)
    server.server_close()  # waits for them
