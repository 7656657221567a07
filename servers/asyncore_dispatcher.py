# /// script
# requires-python = ">=3.11"
# dependencies = ["pyasyncore>=1; python_version >= '3.12'"]
# [tool.c10k]
# framework = "pyasyncore"
# title = "asyncore (historical)"
# model = "callbacks"
# unit = "dispatcher object"
# tier = "variant"
# notes = [
#   { python = "<3.12", text = "the standard library's, deprecated since 3.6" },
#   { python = ">=3.12", text = "from pyasyncore; the standard library has it no more" },
# ]
# ///
"""asyncore: callbacks on dispatcher objects, in the standard library from 1999 to Python 3.11.

The unit of concurrency is a dispatcher object. Control switches when a callback returns to
the loop, which before every poll asks each dispatcher whether it wants to read or write.
After the echo server of https://docs.python.org/3.11/library/asyncore.html. Historical.
"""

import asyncore
import socket
import time


class Echo(asyncore.dispatcher_with_send):
    def readable(self):  # a client that is slow to take its echo is not read from
        return not self.out_buffer

    def handle_read(self):
        if data := self.recv(65536):
            self.send(data)


class Server(asyncore.dispatcher):
    def handle_accept(self):
        try:
            super().handle_accept()
        except OSError:  # out of descriptors: let a client leave first
            time.sleep(0.01)

    def handle_accepted(self, client, address):
        Echo(client)


Server(socket.socket(fileno=0)).listen(4096)
asyncore.loop(use_poll=True)  # select, its default, ends at descriptor 1023
