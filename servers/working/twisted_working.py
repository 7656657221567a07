# /// script
# requires-python = ">=3.11"
# dependencies = ["twisted>=25"]
# [tool.c10k]
# framework = "twisted"
# title = "Twisted at work"
# model = "generators"
# unit = "generator"
# tier = "variant"
# notes = [{ python = ">=3.11", text = "deferToThread's default pool has at most 10 threads" }]
# ///
"""Twisted's inlineCallbacks, with handlers that wait, block and compute.

Only a yield lets the other clients go on: time.sleep and a computation do not. The way
out is deferToThread.
"""

import ctypes
import hashlib
import re
import socket
import time

from twisted.internet import reactor
from twisted.internet.defer import DeferredQueue, inlineCallbacks
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer

REQUEST = re.compile(
    rb"!(wait|block|call|offload|hold|free|keep) (\d{1,4}(?:\.\d)?)(?: (\d{1,5}))?(?: #\S*)?\n"
)
BULK = bytes(1 << 16)
USLEEP = ctypes.CDLL(None).usleep  # C: a patch of Python does not reach it


def call(seconds):
    USLEEP(round(seconds * 1e6))


def hold(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def free(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(BULK).digest()


@inlineCallbacks
def work(request):
    name, milliseconds, kib = request.groups(b"0")
    seconds = float(milliseconds) / 1000
    match name:
        case b"wait":
            yield deferLater(reactor, seconds)
        case b"offload":
            yield deferToThread(time.sleep, seconds)
        case b"block":
            time.sleep(seconds)  # the mistake that is measured
        case b"call":
            call(seconds)
        case b"hold":
            hold(seconds)
        case b"free":
            free(seconds)
        case b"keep":
            kept = b"k" * (int(kib) * 1024)
            yield deferLater(reactor, seconds)
            del kept


@inlineCallbacks
def echo(client):
    while data := (yield client.received.get()):
        if request := REQUEST.fullmatch(data):
            yield work(request)
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
