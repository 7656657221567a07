# /// script
# requires-python = ">=3.11"
# dependencies = ["twisted>=25"]
# [tool.c10k]
# framework = "twisted"
# title = "Twisted inlineCallbacks"
# model = "generators"
# unit = "generator"
# tier = "variant"
# ///
"""Twisted's inlineCallbacks: one generator per client, which yields for what has not come yet.

The unit of concurrency is a generator. It switches at yield, when nothing has arrived;
the protocol below it is still called back by the reactor.
"""

import socket

from twisted.internet import reactor
from twisted.internet.defer import DeferredQueue, inlineCallbacks
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer


@inlineCallbacks
def echo(client):
    while data := (yield client.received.get()):
        client.transport.write(data)
    client.transport.unregisterProducer()
    client.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    def connectionMade(self):
        self.received = DeferredQueue()
        # While this client is slow to take its echo, no more is read from it.
        self.transport.registerProducer(self.transport, streaming=True)
        echo(self)

    def dataReceived(self, data):
        self.received.put(data)

    def readConnectionLost(self):  # it will send no more
        self.received.put(b"")

    def writeConnectionLost(self):
        pass


listener = socket.socket(fileno=0)
listener.setblocking(False)  # adoptStreamPort takes it as it is
reactor.adoptStreamPort(listener.fileno(), listener.family, Factory.forProtocol(Client))
reactor.run()
