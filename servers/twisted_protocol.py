# /// script
# requires-python = ">=3.11"
# dependencies = ["twisted>=25"]
# [tool.c10k]
# framework = "twisted"
# title = "Twisted"
# model = "callbacks"
# unit = "protocol object"
# tier = "canonical"
# ///
"""A Twisted protocol: the reactor calls it with what has arrived.

The unit of concurrency is a protocol object. Control switches when a callback returns
to the reactor, so none of them may wait.
"""

import socket

from twisted.internet import reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer


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
