"""A client that knows which bytes it is owed, and a server that is running for every case.

A client is owed all that it has sent, byte for byte and in order. Clients never block: every
wait goes through exchange(), which serves all given clients at once. It gives up when no byte
was moved for PATIENCE_S seconds, so a server that hangs costs only seconds.
"""

import contextlib
import errno
import os
import random
import select
import signal
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from .. import launch
from ..errors import os_reason
from ..launch import processes
from ..model import Grade, Server

PATIENCE_S = 3.0  # without a byte moved, before a server counts as hung
STUCK_S = 0.2  # without a byte taken, before a server counts as holding a client back
READ_BYTES = 1 << 18
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Finding(Exception):
    """What a case found out about a server, in words; its class is the verdict."""

    verdict: ClassVar[Grade]


class Failed(Finding):
    """The server broke the contract: it is not timed."""

    verdict = "failed"


class CutOff(Failed):
    """The server ended a connection, which is a fault unless the case expects it."""


class Unclean(Finding):
    """The server kept the contract, but not well: the finding is shown and the server is timed."""

    verdict = "unclean"


class Informational(Finding):
    """A fact without a judgement; also the reason why this machine cannot try a case."""

    verdict = "informational"


class Client:
    """One connection: the bytes that it still has to send, and those that it is owed."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.name = name
        self.outbox = bytearray()
        self.owed = bytearray()
        self.chops: Iterator[int] | None = None  # the sizes of the pieces to send; None: any
        self.echoed = 0

    def say(self, data: bytes, chops: Iterator[int] | None = None) -> None:
        """Queues data. exchange() and fill() send it, in pieces of the sizes in chops."""
        self.outbox += data
        self.chops = chops

    def send(self) -> int:
        """Sends as much of one piece as the kernel takes; returns how many bytes."""
        with memoryview(self.outbox) as view, view[: self.size_to_send()] as piece:
            try:
                sent = self.sock.send(piece)
            except WOULD_BLOCK:
                return 0
            except OSError as error:
                raise CutOff(
                    f"{self.name} cannot send after {self.echoed:,} bytes: {os_reason(error)}"
                ) from None
            self.owed += piece[:sent]
        del self.outbox[:sent]
        return sent

    def receive(self) -> int:
        """Receives what has come and compares it with what is owed; returns how many bytes."""
        try:
            data = self.sock.recv(READ_BYTES)
        except WOULD_BLOCK:
            return 0
        except OSError as error:
            raise CutOff(
                f"{self.name} was cut off after {self.echoed:,} bytes: {os_reason(error)}"
            ) from None
        if not data:
            missing = len(self.owed) + len(self.outbox)
            raise CutOff(
                f"{self.name} got end of stream after {self.echoed:,} bytes; "
                f"{missing:,} more were owed"
            )
        if not self.owed.startswith(data):
            at = next(
                (i for i, (a, b) in enumerate(zip(data, self.owed, strict=False)) if a != b),
                len(self.owed),
            )
            want, got = bytes(self.owed[at : at + 8]), data[at : at + 8]
            raise Failed(
                f"{self.name}: byte {self.echoed + at:,} of the echo differs: "
                f"{got.hex(' ')} where {want.hex(' ') or 'nothing'} was owed"
            )
        del self.owed[: len(data)]
        self.echoed += len(data)
        return len(data)

    def size_to_send(self) -> int:
        """How many bytes the next piece is to have."""
        return next(self.chops) if self.chops else READ_BYTES

    def give_up(self) -> None:
        """Sends nothing more of what is queued."""
        self.outbox.clear()

    def end(self) -> None:
        """Sends end of stream."""
        with contextlib.suppress(OSError):  # the server may have closed, which receive() reports
            self.sock.shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        """Sends end of stream, and expects the bytes owed and then the server's end of stream."""
        self.end()
        exchange(self)
        self.sock.settimeout(PATIENCE_S)
        try:
            rest = self.sock.recv(READ_BYTES)
        except TimeoutError:
            raise Failed(
                f"{self.name} sent end of stream and got all its bytes back, but the server "
                f"did not close within {PATIENCE_S:.0f} s"
            ) from None
        except ssl.SSLZeroReturnError:
            rest = b""  # the server's close_notify
        except OSError as error:
            raise Failed(
                f"{self.name} got {os_reason(error)}, not end of stream, after its last byte"
            ) from None
        if rest:
            raise Failed(f"{self.name} got {len(rest)} bytes that it never sent")
        self.sock.close()

    def reset(self) -> None:
        """Closes with a reset (RST) instead of an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class TlsClient(Client):
    """One connection over TLS. Its handshake is made, and waited for, when it first sends.

    So a client that says nothing has not even begun the handshake.
    """

    def __init__(self, sock: socket.socket, name: str, certificate: launch.Certificate) -> None:
        super().__init__(sock, name)
        self.certificate = certificate
        self.begun = 0  # the size of the piece that OpenSSL has begun, and wants again

    def send(self) -> int:
        if not isinstance(self.sock, ssl.SSLSocket):
            self._shake_hands()
        sent = super().send()
        if sent:
            self.begun = 0
        return sent

    def size_to_send(self) -> int:
        self.begun = self.begun or super().size_to_send()
        return self.begun

    def give_up(self) -> None:
        del self.outbox[self.begun :]

    def end(self) -> None:
        with contextlib.suppress(OSError):  # as a rule, that the server's has not come yet
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.unwrap()

    def finish(self) -> None:
        exchange(self)  # close_notify ends both directions, so it comes after the last echo
        super().finish()

    def _shake_hands(self) -> None:
        self.sock = self.certificate.wrap(self.sock)
        self.sock.settimeout(PATIENCE_S)
        try:
            self.sock.do_handshake()
        except OSError as error:
            raise CutOff(f"{self.name}: {launch.why_no_handshake(error)}") from None
        self.sock.setblocking(False)


def exchange(*clients: Client, patience_s: float | None = None, leaving: bool = False) -> None:
    """Sends all that the clients have to send and receives all that they are owed.

    leaving: a client closes as soon as it has its echo, which makes room for the others.
    """
    patience_s = PATIENCE_S if patience_s is None else patience_s
    poller = select.poll()
    busy: dict[int, Client] = {}
    for client in clients:
        if client.outbox or client.owed:
            busy[client.sock.fileno()] = client
            sending = select.POLLOUT if client.outbox else 0  # else it is always ready
            poller.register(client.sock, select.POLLIN | sending)
    while busy:
        events = poller.poll(patience_s * 1000)
        if not events:
            client = next(iter(busy.values()))
            raise Failed(
                f"nothing moved for {patience_s:.0f} s: {client.name} has {client.echoed:,} "
                f"bytes back and {len(client.owed) + len(client.outbox):,} to come"
            )
        for descriptor, event in events:
            client = busy[descriptor]
            if event & ~select.POLLOUT:
                client.receive()
            if event & select.POLLOUT and client.outbox:
                client.send()
                if not client.outbox:
                    poller.modify(descriptor, select.POLLIN)
            if not client.outbox and not client.owed:
                poller.unregister(descriptor)
                del busy[descriptor]
                if leaving:
                    client.sock.close()


def fill(*clients: Client) -> None:
    """Sends without receiving, until all is sent or nothing was taken for STUCK_S."""
    moved = time.monotonic()
    while time.monotonic() < moved + STUCK_S and any(client.outbox for client in clients):
        if sum(client.send() for client in clients if client.outbox):
            moved = time.monotonic()
        else:
            time.sleep(0.002)


class Subject:
    """The server under check, started when a case needs it and it is not running.

    All cases share one process, as clients do; each case gets fresh connections.
    """

    def __init__(
        self, server: Server, log: Path, bind: str, ready_s: float, seed: int, python: str
    ) -> None:
        self.server = server
        self.python = python
        self.log = log
        self.bind = bind
        self.ready_s = ready_s
        self.random = random.Random(seed)
        self.clients: list[Client] = []
        self._running: launch.Running | None = None
        self._said = b""

    @property
    def running(self) -> launch.Running:
        """The running server, started if need be. Raises launch.NotServing."""
        if self._running is None:
            self._running = launch.start(
                self.server, self.log, bind=self.bind, ready_s=self.ready_s, python=self.python
            )
        return self._running

    def connect(self, name: str = "the client") -> Client:
        """A fresh client. name: what a finding calls it."""
        try:
            sock = self.running.connect(PATIENCE_S)
        except OSError as error:
            raise Failed(f"{name} cannot connect: {os_reason(error)}") from None
        return self._adopt(sock, name)

    def connecting(self, name: str, receive_bytes: int | None = None) -> Client:
        """A client that may not be connected yet; exchange() also waits for that.

        receive_bytes: its receive buffer, which can be made small only before it connects.
        """
        listener = self.running.listener
        sock = socket.socket(listener.family)
        sock.setblocking(False)
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        error = sock.connect_ex(listener.getsockname())
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise Failed(f"{name} cannot connect: {os.strerror(error).lower()}")
        return self._adopt(sock, name)

    def _adopt(self, sock: socket.socket, name: str) -> Client:
        certificate = self.running.certificate
        client = TlsClient(sock, name, certificate) if certificate else Client(sock, name)
        self.clients.append(client)
        return client

    def data(self, size: int) -> bytes:
        """Random bytes, so that no two messages are equal."""
        return self.random.randbytes(size)

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Checks that two other clients are served both before and after the with block."""
        others = [self.connect(f"another client ({i})") for i in (1, 2)]
        self.echo(others)
        yield
        if reason := self.why_gone():
            raise Failed(reason)
        self.echo(others)
        self.echo([self.connect("a client that came later")])

    def echo(self, clients: Sequence[Client], size: int = 1000) -> None:
        """One message of each client, there and back."""
        for client in clients:
            client.say(self.data(size))
        exchange(*clients)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops the server's processes (SIGSTOP) meanwhile; the kernel still queues for them."""
        os.killpg(self.running.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.running.pid, signal.SIGCONT)

    def elsewhere(self, bind: str) -> "Subject":
        """The same server, to be started a second time, on another address."""
        log = self.log.with_name(f"{self.log.stem}-elsewhere.log")
        seed = self.random.randrange(2**32)
        return Subject(self.server, log, bind, self.ready_s, seed, self.python)

    def processes(self) -> list[psutil.Process]:
        """The server's process first, then those it started. Raises psutil.Error if it is gone."""
        found = [psutil.Process(self.running.pid)]
        for pid in processes.tree([self.running.pid]):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [psutil.Process(pid)] * (pid != self.running.pid)
        return found

    def together(self, count: Callable[[psutil.Process], int]) -> int:
        """The sum of a count over the server's processes; one that is gone counts as 0."""
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    total += count(process)
        return total

    def memory_bytes(self) -> int:
        """Resident memory of the server's processes, in bytes."""
        return self.together(lambda process: int(process.memory_info().rss))

    def why_gone(self, wait_s: float = 0.0) -> str:
        """How the server ended; "" while it runs. wait_s: how long to wait for its end."""
        return self._running.why_gone(wait_s) if self._running else ""

    def said(self) -> bytes:
        """What the server wrote on standard output during the whole check."""
        return self._said + (self._running.said() if self._running else b"")

    def hang_up(self) -> None:
        """Closes the clients that the case left open."""
        for client in self.clients:
            client.sock.close()
        self.clients.clear()

    def stop(self) -> launch.Stopped:
        """Ends the server; the next case starts another."""
        running = self.running
        self._said = self.said()
        self._running = None
        return running.stop()

    def close(self) -> None:
        """Ends the clients and the server."""
        self.hang_up()
        if self._running:
            self.stop()
