"""A mix: an open loop of requests of several kinds, one at a time on a connection.

A server that works before it echoes takes one request at a time from a client, as a connection
of HTTP/1.1 does. So a client with an echo to come sends nothing, and a request that is due leaves
from the client that has been free the longest. If none is free, it waits for the first that will
be. Its latency counts from the intended send all the same. The schedule lag of such a request
counts from when a client was free: until then it was the server that kept it.

A message is `LINE #ID.NUMBER` and a newline, so all of a trial differ here, too. The first one of
a client has no LINE, so that it is an echo without work.
"""

import re
from collections import deque
from collections.abc import Sequence
from time import perf_counter_ns as clock

from conversations import Meter
from latencies import Latencies
from pacing import BURST, Paced, Pacer
from plan import Request
from schedule import Schedule

_MOST_BYTES = 256  # of a message
_NAME = re.compile(rb"[^#]*#(\d{1,20})\.(\d{1,20})\n")


class Dispatcher(Pacer):
    """Gives each request that is due to a free client, and records echoes by request."""

    def __init__(self, meter: Meter, most_outstanding: int, mix: Sequence[Request]) -> None:
        super().__init__(meter, most_outstanding, _MOST_BYTES)
        self.lines = [request.line.encode("ascii") for request in mix]
        self.by_request = [Latencies() for _ in mix]
        self.histograms += self.by_request
        self.free: deque[Requesting] = deque()  # the longest free first
        self.waiting: deque[tuple[int, int]] = deque()  # intended (ns), which; no client is free

    def client(self, ident: int, filler: bytes) -> "Requesting":
        return Requesting(self, ident)

    def sent(self) -> int:
        """Messages sent, including those before the slice, and those that a client must wait for.

        That none is free is the server's doing, and the rate is still the one that was asked for.
        """
        return super().sent() + len(self.waiting)

    def begin(self, clients: Sequence[Paced], schedule: Schedule, warmup_ns: int) -> int:
        self.free.extend(client for client in clients if isinstance(client, Requesting))
        return super().begin(clients, schedule, warmup_ns)

    def send_due(self) -> None:
        """Sends what is due, at most BURST requests."""
        for _ in range(BURST):
            if clock() < self.next_ns:
                return
            self.waiting.append((self.next_ns, self.next_who))
            self.advance()
            while self.free and self.waiting:
                self.give(self.free.popleft(), 0)
            if self.outstanding + len(self.waiting) > self.limit:
                self.stop()
                return

    def give(self, client: "Requesting", free_ns: int) -> None:
        """Sends the first waiting request from a client that is free since free_ns.

        A client whose connection has ended is not used again.
        """
        intended_ns, which = self.waiting[0]
        now_ns = clock()
        if not client.request(which, intended_ns, now_ns):
            return
        self.waiting.popleft()
        if intended_ns >= self.slice_ns:
            client.sent_in_slice += 1
            self.lag.note(now_ns - max(intended_ns, free_ns))
        else:
            self.early_sent += 1

    def release(self, client: "Requesting", now_ns: int) -> None:
        """A client's echo has come: it takes a request that waits, or is free."""
        if self.waiting:
            self.give(client, now_ns)
        else:
            self.free.append(client)

    def close(self) -> int:
        now_ns = clock()
        left = [(intended_ns, which) for intended_ns, which in self.waiting]
        self.unsent.extend(intended_ns for intended_ns, _ in left if intended_ns >= self.slice_ns)
        self.waiting.clear()
        for client in self.clients:
            if isinstance(client, Requesting):
                left += [(intended_ns, client.which) for intended_ns, _ in client.on_their_way]
        for intended_ns, which in left:
            if intended_ns >= self.slice_ns:
                self.by_request[which].note(now_ns - intended_ns)
        return super().close()


class Requesting(Paced):
    """One client of a mix, which sends a request when its last echo has come."""

    __slots__ = ("dispatcher", "ident", "which")

    def __init__(self, dispatcher: Dispatcher, ident: int) -> None:
        super().__init__(dispatcher, ident, b"")
        self.dispatcher = dispatcher
        self.ident = ident
        self.which = 0  # the request on its way

    def say(self, now_ns: int) -> None:
        self.ask(b"", now_ns, now_ns)

    def request(self, which: int, intended_ns: int, now_ns: int) -> bool:
        """Sends this request of the mix; False when the connection has ended."""
        self.which = which
        return self.ask(self.dispatcher.lines[which] + b" ", intended_ns, now_ns)

    def ask(self, line: bytes, intended_ns: int, now_ns: int) -> bool:
        if self.ended:
            return False
        message = b"%b#%d.%d\n" % (line, self.ident, self.number)
        if not self.write(message):
            return False
        self.expected = message
        # as in Paced.send(), where it is inlined
        self.on_their_way.append((intended_ns, now_ns))
        pacer = self.pacer
        if not pacer.outstanding:
            self.meter.heard_ns = now_ns  # no client waited until now
        pacer.outstanding += 1
        return True

    def data_received(self, data: bytes) -> None:
        now_ns = clock()
        self.piece(data, now_ns)
        pacer = self.pacer
        if now_ns >= pacer.next_ns:
            pacer.send_due()

    def whole(self, now_ns: int) -> None:
        intended_ns, _ = self.on_their_way[0]
        self.expected = b""
        if intended_ns >= self.pacer.slice_ns:
            self.dispatcher.by_request[self.which].note(now_ns - intended_ns)
        greeted = self.waiter is not None
        self.heard(now_ns)
        if not greeted:
            self.dispatcher.release(self, now_ns)

    def fault(self, data: bytes) -> str:
        named = _NAME.match(data) if self.got == 0 else None
        if named is None:
            return "altered"
        ident, number = map(int, named.groups())
        if ident != self.ident:
            return "misdirected"
        return "doubled" if number < self.number or len(data) > named.end() else "altered"
