"""The first kit: the demands of the server contract, each tested by an experiment.

A case returns when the server did as the contract says; otherwise it raises a Finding with
what it saw. The only time that is asserted is the contract's two seconds after SIGTERM. All
cases together take about a second with a good server; long.py has those that take longer.
"""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

from .. import launch
from ..model import Server
from .client import Client, Failed, Subject, exchange, fill

KIB = 1024
MIB = 1024 * KIB
UNREAD_BYTES = 64 * MIB  # what a client that does not read sends, unless it is held back
STALL_BYTES = 24 * MIB  # twice as much as the buffers on the way were found to hold
GROWTH_BYTES = 16 * MIB  # of the server's memory meanwhile: far above noise, far below 64 MiB
BURST = 200  # clients at once: more than any framework's default backlog
IDLE_S = 0.25
NO_HALF_CLOSE = "Python's ssl has no half-close: a client's close_notify ends both directions"


@dataclass(frozen=True)
class Case:
    """One experiment. why: what goes wrong in practice when a server fails it.

    not_over_tls: why it cannot be tried with a server that speaks TLS; "" when it can.
    """

    name: str
    why: str
    run: Callable[[Subject], None]
    not_over_tls: str = ""

    def why_not(self, server: Server) -> str:
        """Why it cannot be tried with this server; "" when it can."""
        return (
            f"not tried over TLS: {self.not_over_tls}" if server.tls and self.not_over_tls else ""
        )


def _random_chops(subject: Subject, most: int) -> Iterator[int]:
    while True:
        yield subject.random.randint(1, most)


def _echo(*sizes: int) -> Callable[[Subject], None]:
    def run(subject: Subject) -> None:
        client = subject.connect()
        for size in sizes:
            client.say(subject.data(size), _random_chops(subject, max(1, size // 50)))
            exchange(client)
        client.finish()

    return run


def _one_byte(subject: Subject) -> None:
    client = subject.connect()
    subject.echo([client], 1)
    client.finish()


def _segments(subject: Subject) -> None:
    client = subject.connect()
    try:
        mss = client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    except OSError:  # not TCP, where any size will do
        mss = 1448
    for size in (mss - 1, mss, mss + 1):
        subject.echo([client], size)
    client.finish()


def _tiny_writes(subject: Subject) -> None:
    client = subject.connect()
    client.say(subject.data(30_000), repeat(3))
    exchange(client)
    client.finish()


def _dribble(subject: Subject) -> None:
    client = subject.connect()
    for _ in range(100):
        subject.echo([client], 1)
    client.finish()


def _half_close(subject: Subject) -> None:
    for size in (0, 1, 1000, 30_000):
        with subject.frozen():  # so that data and end of stream reach the server together
            client = subject.connect(f"a client that sent {size:,} bytes and end of stream")
            client.say(subject.data(size))
            fill(client)
            client.end()
        client.finish()


def _half_close_unread(subject: Subject) -> None:
    client = subject.connect("a client that read nothing before it sent end of stream")
    stall(subject, client)
    client.finish()


def _no_data(subject: Subject) -> None:
    silent = [subject.connect(f"a client silent at first ({i})") for i in range(5)]
    with subject.unharmed():
        for _ in range(5):
            subject.connect().sock.close()
    subject.echo(silent)
    silent[0].finish()


def _idle(subject: Subject) -> None:
    clients = [subject.connect(f"a client that idled ({i})") for i in (1, 2)]
    subject.echo(clients)
    time.sleep(IDLE_S)
    for size in (100, 10, 1000):  # 10 after 100 would show the stale end of a buffer
        subject.echo(clients[:1], size)
        subject.echo(clients, size)


def _interleaved(subject: Subject) -> None:
    clients = [subject.connect(f"client {i} of 4") for i in range(1, 5)]
    for size in (10, 1000, 100, 5000):
        for client in clients:  # all messages are on their way before one echo is read
            client.say(subject.data(size))
            client.send()
        exchange(*clients)
        subject.echo(clients[:2], size // 2)
    stall(subject, *clients[:2])  # their echoes wait in the server, and must not be mixed up
    subject.echo(clients[2:])
    for client in clients:
        client.finish()


def _reset_before(subject: Subject) -> None:
    with subject.unharmed():
        for _ in range(20):
            subject.connect().reset()
        known = [subject.connect() for _ in range(5)]
        subject.echo(known)
        for client in known:
            client.reset()


def _reset_during(subject: Subject) -> None:
    with subject.unharmed():
        for _ in range(10):
            client = subject.connect()
            client.say(subject.data(200 * KIB))
            client.send()
            client.reset()
        client = subject.connect()
        stall(subject, client)
        client.reset()


def stall(subject: Subject, *clients: Client) -> None:
    """The clients send without reading, until every buffer on the way is full."""
    for client in clients:
        client.say(subject.data(MIB + 7) * (STALL_BYTES // MIB))
    fill(*clients)
    for client in clients:
        client.give_up()  # what no buffer had room for is never sent


def _slow_reader(subject: Subject) -> None:
    client = subject.connect("a client that does not read")
    with subject.unharmed():
        subject.echo([client])
        before = subject.memory_bytes()
        chunk = subject.data(MIB)
        while not client.outbox and len(client.owed) < UNREAD_BYTES:
            client.say(chunk)
            fill(client)
            grown = subject.memory_bytes() - before
            if grown > GROWTH_BYTES:
                raise Failed(
                    f"its memory grew by {grown / MIB:.0f} MiB for one client that sent "
                    f"{len(client.owed) / MIB:.0f} MiB and read nothing"
                )
    exchange(client)
    client.finish()


def _backlog(subject: Subject) -> None:
    with launch.listen() as fresh:
        given = launch.backlog(fresh)
    now = subject.running.backlog()
    if given and now and given.limit != now.limit:
        raise Failed(
            f"the accept queue was made for {given.limit} and is now {now.limit}: "
            "it listens again with a backlog of its own"
        )
    with subject.frozen():  # so that clients queue up
        clients = [subject.connect(f"client {i} of {BURST} at once") for i in range(BURST)]
    subject.echo(clients, 10)


def _silence(subject: Subject) -> None:
    subject.echo([subject.connect()])
    subject.connect().sock.close()
    with subject.unharmed():
        pass
    if said := subject.said():
        raise Failed(f"it wrote on standard output: {said[:60]!r}")


def _sigterm(subject: Subject) -> None:
    subject.echo([subject.connect()])
    stall(subject, subject.connect())
    if subject.stop().killed:
        raise Failed(f"it was still there {launch.STOP_S:.0f} s after SIGTERM")


CASES = (
    Case("one-byte", "the smallest message must not wait for more", _one_byte),
    Case(
        "segments",
        "faults are likely where a message just fits a segment, or just does not",
        _segments,
    ),
    Case("echo-64-kib", "as much as one read may return", _echo(64 * KIB)),
    Case("echo-1-mib", "more than one read returns, in random pieces", _echo(MIB)),
    Case(
        "echo-8-mib",
        "more than the socket buffers hold, in both directions at once",
        _echo(8 * MIB),
    ),
    Case("tiny-writes", "10,000 writes of 3 bytes arrive in any grouping", _tiny_writes),
    Case("dribble", "a client that sends byte by byte must be answered byte by byte", _dribble),
    Case(
        "half-close",
        "a client may end its stream and still wait for its echo",
        _half_close,
        NO_HALF_CLOSE,
    ),
    Case(
        "half-close-unread",
        "end of stream must not cut off what was read but could not be sent yet",
        _half_close_unread,
        NO_HALF_CLOSE,
    ),
    Case("no-data", "clients that connect and say nothing must cost others nothing", _no_data),
    Case("idle", "after a pause the new bytes must come back, not those of before", _idle),
    Case("interleaved", "clients that alternate must each get their own bytes", _interleaved),
    Case("reset-before", "a client that resets before it sends harms no other", _reset_before),
    Case("reset-during", "a client that resets during its echo harms no other", _reset_during),
    Case("slow-reader", "a client that does not read must not fill the memory", _slow_reader),
    Case("backlog", "all servers are measured with the same accept queue", _backlog),
    Case("silence", "writing to standard output costs time that others do not spend", _silence),
    Case("sigterm", "a server that does not end would still run beside the next one", _sigterm),
)
