# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "socketserver"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""The standard library's socketserver: one listener and one thread per client.

The unit of concurrency is an operating-system thread. It switches wherever the kernel
or the interpreter's lock decides: here, when recv or sendall waits.
"""

import socket
import socketserver
import time


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except OSError:
            pass  # this client left; the others have threads of their own


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True

    def get_request(self):
        try:
            return super().get_request()
        except OSError:  # out of descriptors: let a client leave first
            time.sleep(0.01)
            raise

    def handle_error(self, request, client_address):
        pass  # out of threads: this client is turned away


server = Server(None, Echo, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=0)
server.serve_forever()
