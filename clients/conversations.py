"""What one client sends and expects to receive: the hot path.

A message is `id | filler | number`: the connection's id and the message's number, 8
bytes each. So all messages of a trial differ, and an echo that is lost, altered, doubled
or another client's is recognised. Each echo is compared byte for byte with what was sent.

A conversation writes directly to its descriptor, which is cheaper than the transport's
write queue; what the kernel does not take at once goes through the transport. That is
safe because a conversation sends only when nothing of its own is still queued: after the
whole echo, or (pipelined) always through the transport.

A connection that has ended is never written to again, because its descriptor's number may
then be another connection's. It leaves nothing outstanding: the echo that it waited for is
not counted as lost as well, since the end of the connection is one error, named once.

The send time is read when the previous echo has come, so a latency includes the time to
compose the next message: well under a microsecond.
"""

import asyncio
import os
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable
from time import perf_counter_ns as clock
from typing import cast

from latencies import Latencies

NEVER = 2**63 - 1  # the latest time of 64 bits with a sign


class Meter:
    """What all conversations of a worker share: the latencies, the alarm, whether to go on.

    The course (course.py) sets the alarm, ring and gap.
    """

    __slots__ = (
        "alarm_ns",
        "altered",
        "errors",
        "gap",
        "gap_ns",
        "heard_ns",
        "latencies",
        "ring",
        "sending",
        "there",
        "unanswered",
    )

    def __init__(self, latencies: Latencies | None = None) -> None:
        self.latencies = latencies or Latencies()
        self.sending = False  # whether a client sends its next message when an echo comes
        self.there = 0  # connections that were served and have not ended
        self.altered = Counter[str]()  # misdirected, doubled, altered → how many
        self.errors = Counter[str]()
        self.unanswered = array("q")  # send times (ns) of messages whose connection ended first
        self.alarm_ns = NEVER  # the first echo at or after this moment calls ring()
        self.heard_ns = 0  # the last echo; or, if later, since when something is on its way
        self.gap_ns = NEVER  # a longer stretch without an echo calls gap()
        self.ring: Callable[..., None] = lambda *_: None
        self.gap: Callable[[int], None] = lambda _: None

    def stretch(self, now_ns: int) -> None:
        """Ends at now_ns the stretch in which no echo has come."""
        if now_ns - self.heard_ns > self.gap_ns:
            self.gap(now_ns)
        self.heard_ns = now_ns

    def heard(self, now_ns: int) -> None:
        """An echo has come and its latency is noted. The hot path has this inlined."""
        self.stretch(now_ns)
        if now_ns >= self.alarm_ns:
            self.ring(now_ns)


class Conversation(asyncio.Protocol):
    """One client that sends its next message when the echo has come (closed loop)."""

    __slots__ = (
        "ended",
        "expected",
        "fd",
        "got",
        "leaving",
        "meter",
        "note",
        "number",
        "number_at_start",
        "partial",
        "prefix",
        "sent_ns",
        "transport",
        "waiter",
    )

    def __init__(self, meter: Meter, ident: int, filler: bytes) -> None:
        self.meter = meter
        self.note = meter.latencies.note
        self.prefix = ident.to_bytes(8, "little") + filler
        self.number = 0  # of the message on its way; also how many echoes have come
        self.number_at_start = 0  # of the measured slice
        self.got = 0  # bytes of the current echo that have come
        self.ended = ""  # why the conversation has ended; "" while it has not
        self.leaving = False
        self.waiter: asyncio.Future[None] | None = None
        self.expected = b""  # the message on its way, while nothing of its echo has come
        self.partial = b""  # the message on its way, once a part of its echo has come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.fd = transport.get_extra_info("socket").fileno()

    def greet(self, waiter: asyncio.Future[None]) -> None:
        """Sends one message; the waiter is set when its echo has come or cannot come."""
        if self.ended:
            waiter.set_exception(ConnectionError(self.ended))
            return
        self.waiter = waiter
        self.say(clock())

    def say(self, now_ns: int) -> None:
        """Sends the next message."""
        if self.ended:
            return
        self.sent_ns = now_ns
        self.expected = self.prefix + self.number.to_bytes(8, "little")
        self.write(self.expected)

    def write(self, message: bytes) -> bool:
        """Writes a message while nothing of this client is queued; False if it has ended."""
        try:
            written = os.write(self.fd, message)
        except BlockingIOError:
            written = 0
        except OSError:
            return False  # the loop notices too, and connection_lost() gets the reason
        if written != len(message):
            self.transport.write(message[written:])
        return True

    def data_received(self, data: bytes) -> None:
        now_ns = clock()
        if data == self.expected:  # the whole echo at once: nearly every time
            self.note(now_ns - self.sent_ns)
            self.number = number = self.number + 1
            # Meter.heard(), inlined
            meter = self.meter
            if now_ns - meter.heard_ns > meter.gap_ns:
                meter.gap(now_ns)
            meter.heard_ns = now_ns
            if now_ns >= meter.alarm_ns:
                meter.ring(now_ns)
            if meter.sending:
                # say() and write(), inlined: this is the hot path
                self.sent_ns = now_ns
                self.expected = message = self.prefix + number.to_bytes(8, "little")
                try:
                    written = os.write(self.fd, message)
                except BlockingIOError:
                    written = 0
                except OSError:
                    return
                if written != len(message):
                    self.transport.write(message[written:])
            else:
                self.pause()
        else:
            self.piece(data, now_ns)

    def piece(self, data: bytes, now_ns: int) -> None:
        """A part of an echo, or something that is not an echo."""
        if self.ended:
            return  # too late
        message = self.partial or self.expected
        if not data or not message.startswith(data, self.got):
            self.distrust(data)
            return
        self.got += len(data)
        if self.got < len(message):
            # So that the rest is never taken for a whole echo.
            self.partial, self.expected = message, b""
            return
        self.partial, self.got = b"", 0
        self.whole(now_ns)

    def whole(self, now_ns: int) -> None:
        """The last part of an echo has come."""
        self.note(now_ns - self.sent_ns)
        self.number += 1
        self.meter.heard(now_ns)
        if self.meter.sending:
            self.say(now_ns)
        else:
            self.pause()

    def pause(self) -> None:
        """The echo has come, and nothing more is sent for now."""
        self.expected = b""
        if self.waiter is not None:
            waiter, self.waiter = self.waiter, None
            if self.number == 1 and not self.leaving:
                self.meter.there += 1
            if not waiter.done():
                waiter.set_result(None)

    def distrust(self, data: bytes) -> None:
        """Names the fault of an echo and ends the conversation, as its stream is unusable."""
        if self.ended:
            return
        fault = self.fault(data)
        self.meter.altered[fault] += 1
        self.end(f"{fault} echo")
        self.transport.abort()

    def fault(self, data: bytes) -> str:
        """The name of the fault of data that is not the awaited echo."""
        return name_fault(data, self.got, self.prefix, self.number)

    def leave(self, waiter: asyncio.Future[None]) -> None:
        """Ends the client's stream; the waiter is set when the server has closed as well."""
        self.waiter, self.leaving = waiter, True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:  # TLS: it sends close_notify, and waits for the server's, or for its end of stream
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.ended:
            return
        if self.leaving and error is None:
            self.pause()
            self.end("left")
            return
        reason = type(error).__name__ if error else "closed by the server"
        if self.number:  # else it was never served, and the connecting code counts it
            self.meter.errors[reason] += 1
        self.end(reason)

    def end(self, reason: str) -> None:
        """Ends the conversation: nothing more is sent or received, nothing is outstanding."""
        self.ended = reason
        if self.number:
            self.meter.there -= 1
            self.meter.unanswered.extend(self.sent_times())
        self.forget()
        if not self.meter.there:
            now_ns = clock()
            self.meter.stretch(now_ns)  # from here on no client waits
            self.meter.ring(now_ns, 0, 0)
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionError(reason))

    def forget(self) -> None:
        """Waits for nothing more, and never writes to the old descriptor again."""
        self.fd = -1
        self.expected = self.partial = b""

    def mute(self, reason: str) -> None:
        """Keeps the connection, which came too late, but ignores what arrives on it."""
        if not self.ended:
            self.ended = reason
            self.meter.there -= bool(self.number)
            self.forget()

    @property
    def outstanding(self) -> int:
        """Messages sent whose whole echo has not come."""
        return 1 if self.expected or self.partial else 0

    def sent_times(self) -> Iterable[int]:
        """When each outstanding message was sent (ns)."""
        return (self.sent_ns,) if self.outstanding else ()


class Pipelined(Conversation):
    """A client that keeps `depth` messages on their way (closed loop, depth above 1)."""

    __slots__ = ("depth", "next_number", "on_their_way")

    def __init__(self, meter: Meter, ident: int, filler: bytes, depth: int) -> None:
        super().__init__(meter, ident, filler)
        self.depth = depth
        self.next_number = 0
        self.on_their_way: deque[tuple[bytes, int]] = deque()  # message, when sent (ns)

    def say(self, now_ns: int) -> None:
        if self.ended:
            return
        wanted = (self.depth if self.meter.sending else 1) - len(self.on_their_way)
        messages = [
            self.prefix + number.to_bytes(8, "little")
            for number in range(self.next_number, self.next_number + wanted)
        ]
        self.next_number += wanted
        self.on_their_way.extend((message, now_ns) for message in messages)
        self.transport.write(b"".join(messages))

    def data_received(self, data: bytes) -> None:
        now_ns = clock()
        start = 0
        meter = self.meter
        while start < len(data):
            if not self.on_their_way:
                self.distrust(data[start:])
                return
            message, sent_ns = self.on_their_way[0]
            part = data[start : start + len(message) - self.got]
            if not message.startswith(part, self.got):
                self.distrust(data[start:])
                return
            start += len(part)
            self.got += len(part)
            if self.got == len(message):
                self.on_their_way.popleft()
                self.got = 0
                self.number += 1
                self.note(now_ns - sent_ns)
                meter.stretch(now_ns)
                if now_ns >= meter.alarm_ns:
                    meter.ring(now_ns)
        if meter.sending:
            self.say(now_ns)
        elif not self.on_their_way:
            self.pause()

    @property
    def outstanding(self) -> int:
        return len(self.on_their_way)

    def sent_times(self) -> Iterable[int]:
        return (sent_ns for _, sent_ns in self.on_their_way)

    def forget(self) -> None:
        super().forget()
        self.on_their_way.clear()


def name_fault(data: bytes, got: int, prefix: bytes, number: int) -> str:
    """The fault: misdirected (another client's echo), doubled (an earlier one) or altered.

    data arrived when `got` bytes of message `number` had come; prefix is that message
    without its number.
    """
    size = len(prefix) + 8
    if got == 0 and len(data) >= size:
        ident, filler, said = data[:8], data[8 : size - 8], data[size - 8 : size]
        if filler == prefix[8:]:
            after = data[size : size + 8]
            if ident != prefix[:8] or (len(after) == 8 and after != prefix[:8]):
                return "misdirected"
            if int.from_bytes(said, "little") < number or len(data) > size:
                return "doubled"
    return "altered"
