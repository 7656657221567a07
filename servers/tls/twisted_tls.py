# /// script
# requires-python = ">=3.11"
# dependencies = ["twisted>=25", "pyopenssl>=24", "service-identity>=24"]
# [tool.c10k]
# framework = "twisted"
# title = "Twisted, TLS"
# model = "callbacks"
# unit = "protocol object"
# tier = "tls"
# tls = true
# ///
"""A Twisted protocol over TLS: the reactor calls it with what was decrypted.

The unit of concurrency is a protocol object. Control switches when a callback returns
to the reactor, so none of them may wait.
"""

import os
import socket
from pathlib import Path

from twisted.internet import reactor, ssl
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory


class Echo(Protocol):
    def connectionMade(self):
        # While this client is slow to take its echo, no more is read from it.
        self.transport.registerProducer(self.transport, streaming=True)

    def dataReceived(self, data):
        self.transport.write(data)


pem = Path(os.environ["C10K_KEY"]).read_text() + Path(os.environ["C10K_CERTIFICATE"]).read_text()
certificate = ssl.PrivateCertificate.loadPEM(pem)
# What reactor.listenSSL does, for a listening socket that is there already.
factory = TLSMemoryBIOFactory(certificate.options(), False, Factory.forProtocol(Echo))
listener = socket.socket(fileno=0)
listener.setblocking(False)  # adoptStreamPort takes it as it is
reactor.adoptStreamPort(listener.fileno(), listener.family, factory)
reactor.run()
