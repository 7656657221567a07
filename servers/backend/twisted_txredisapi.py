# /// script
# requires-python = ">=3.11"
# dependencies = ["twisted>=25", "txredisapi>=1.4.11"]
# [tool.c10k]
# framework = "twisted"
# title = "Twisted, txredisapi"
# model = "callbacks"
# unit = "protocol object"
# tier = "backend"
# needs = "redis"
# notes = [{ python = ">=3.11", text = "asks Redis by a pool of 32 connections" }]
# ///
"""Twisted's Protocol, whose data are sent through Redis by txredisapi before they are echoed.

Each question is a yield: the other clients go on while Redis, or the pool, is waited for.
"""

import os
import re
import socket
from urllib.parse import unquote, urlsplit

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import Factory, Protocol
from txredisapi import RedisError, UnixConnectionPool
from zope.interface import implementer

SLOW = re.compile(rb"!wait (\d{1,4})\n")


@inlineCallbacks
def answer(db, data):
    if data.startswith(b"!plain"):
        return data
    if request := SLOW.fullmatch(data):
        yield db.blpop("never", timeout=int(request[1]) / 1000)
        return data
    return (yield db.execute_command("ECHO", data))  # for which it has no method


@implementer(IHalfCloseableProtocol, IPullProducer)
class Client(Protocol):
    def connectionMade(self):
        # The transport calls resumeProducing when all that was written has left.
        self.transport.registerProducer(self, streaming=False)

    def dataReceived(self, data):
        self.transport.pauseProducing()  # no more is read from this client until it has its echo
        self.echo(data)

    @inlineCallbacks
    def echo(self, data):
        try:
            self.transport.write((yield answer(self.factory.db, data)))
        except RedisError:
            self.transport.abortConnection()

    def resumeProducing(self):
        self.transport.resumeProducing()

    def stopProducing(self):
        pass

    def readConnectionLost(self):  # it will send no more
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self):
        pass


@inlineCallbacks
def main():
    factory = Factory.forProtocol(Client)
    path = unquote(urlsplit(os.environ["REDIS_URL"]).path)
    factory.db = yield UnixConnectionPool(path, poolsize=32, charset=None, convertNumbers=False)
    listener = socket.socket(fileno=0)
    listener.setblocking(False)  # adoptStreamPort takes it as it is
    reactor.adoptStreamPort(listener.fileno(), listener.family, factory)


reactor.callWhenRunning(main)
reactor.run()
