# /// script
# requires-python = ">=3.11"
# dependencies = ["twisted>=25", "uvloop>=0.22"]
# [tool.c10k]
# framework = "twisted"
# title = "Twisted on uvloop"
# model = "callbacks"
# unit = "protocol object"
# tier = "variant"
# ///
"""A Twisted protocol on Twisted's reactor for asyncio, whose loop is uvloop's (libuv).

The unit of concurrency is a protocol object. Control switches when a callback returns
to the reactor, so none of them may wait. The loop tells the reactor which sockets are ready;
Twisted still reads and writes them itself. The reactor is installed before anything imports
it, as https://docs.twisted.org/en/stable/core/howto/choosing-reactor.html teaches.
"""

import socket

import uvloop
from twisted.internet import asyncioreactor

asyncioreactor.install(uvloop.new_event_loop())

from twisted.internet import reactor  # noqa: E402
from twisted.internet.interfaces import IHalfCloseableProtocol  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402
from zope.interface import implementer  # noqa: E402


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    def connectionMade(self):
        # While this client is slow to take its echo, no more is read from it.
        self.transport.registerProducer(self.transport, streaming=True)

    def dataReceived(self, data):
        self.transport.write(data)

    def readConnectionLost(self):  # it will send no more: send what is left, then close
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self):
        pass


listener = socket.socket(fileno=0)
listener.setblocking(False)  # adoptStreamPort takes it as it is
reactor.adoptStreamPort(listener.fileno(), listener.family, Factory.forProtocol(Echo))
reactor.run()
