"""The open loop: messages leave on a schedule that does not wait for echoes.

Event-loop timers have a resolution of a millisecond. So the pacer sleeps by timer only while
the next message is far off. After that it spins: it schedules itself in the loop again and
again, so that echoes are read in between. Echoes may come in a burst (after a server stalled),
and the loop delivers a thousand before the pacer's turn; so each echo also sends what is due.
Neither starves the other: at most BURST messages leave at a time.

Work that can wait (the next chunk of the schedule, the tally) is done when the next message
is far enough off.

Each message has two starts: when it was intended to leave, and when it left. The latency from
the first is the wait of a user who arrives independently of the server. The latency from the
second is the server's share of it. The difference is the schedule lag, this client's error.
Its other error is the read lag: how long an echo had come, at least, before the client read it.
That is the time since the loop asked the kernel which echoes have come. A client that sends on
time may still read late, as each echo that it reads sends what is due.
A message has left when it was given to the kernel or, if the kernel takes no more (the server
reads too slowly), to the transport's queue.
"""

import asyncio
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter_ns as clock

import numpy as np
from conversations import NEVER, Conversation, Meter
from latencies import TALLIED, Latencies
from schedule import Schedule

BURST = 32  # messages that leave before echoes are read again
# A chunk costs 50 to 200 µs, mostly independent of its size, so chunks are few and large.
CHUNK = 1024  # messages of the schedule made at a time
CHORE_NS = 200_000  # when the next message is this far off, a chunk or a tally fits in
FAR_NS = 1_500_000  # when it is this far off, a timer is exact enough
MARGIN_NS = 600_000  # what a timer leaves for spinning
MOST_QUEUED_BYTES = 512 * 1024 * 1024  # messages on their way, per worker


class Pacer:
    """Sends the messages that are due for all clients of a worker, and records their echoes."""

    def __init__(self, meter: Meter, most_outstanding: int, message_bytes: int) -> None:
        self.meter = meter
        self.latency = meter.latencies  # from the intended send
        self.from_send = Latencies()
        self.least = Latencies()  # from the actual send until it last saw that no echo had come
        self.lag = Latencies()
        self.read_lag = Latencies()
        self.by_request: list[Latencies] = []  # of a mix, from the intended send: see mix.py
        self.histograms = [self.lag, self.latency, self.from_send, self.least, self.read_lag]
        self.next_ns = NEVER  # when the next message is to leave
        self.looked_ns = 0  # when it last asked which echoes have come; 0: it slept until one came
        self.before_ns = (
            0  # when it asked before that, and what it reads now had not come; 0 as above
        )
        self.slice_ns = NEVER  # messages intended from here on are recorded
        self.limit = min(most_outstanding, max(1, MOST_QUEUED_BYTES // message_bytes))
        self.outstanding = 0  # messages on their way
        self.early_sent = 0  # before the slice
        self.early_echoed = 0
        self.unsent = array("q")  # intended sends of clients whose connection has ended
        self.stopped = False  # whether it ended early because the limit was reached
        self.on_stop: Callable[[int], None] = lambda _: None

    def client(self, ident: int, filler: bytes) -> "Paced":
        """A client that this pacer sends messages from."""
        return Paced(self, ident, filler)

    # The counts so far

    def sent(self) -> int:
        """Messages sent, including those before the slice."""
        return self.early_sent + self.lag.ever

    def echoed(self) -> int:
        """Echoes that have come, including those of messages before the slice."""
        return self.early_echoed + self.latency.ever

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to send."""
        return self.next_ns == NEVER

    # Sending

    def begin(self, clients: Sequence["Paced"], schedule: Schedule, warmup_ns: int) -> int:
        """Starts sending; returns when the slice starts."""
        self.clients = clients
        self.schedule = schedule
        self.loop = asyncio.get_running_loop()
        self.zero_ns = 0
        # Made before the clock starts, and turned into times by it after.
        first = self.prepare()
        self.zero_ns = clock()
        self.slice_ns = self.zero_ns + warmup_ns
        self.coming: Iterator[tuple[int, int]] = (
            (time_ns + self.zero_ns, who) for time_ns, who in first
        )
        self.prepared: Iterator[tuple[int, int]] | None = None
        self.advance()
        self.turn()
        return self.slice_ns

    def prepare(self) -> Iterator[tuple[int, int]]:
        """The next chunk of the schedule: when (ns), and which client."""
        times_ns, who = self.schedule.chunk(CHUNK)
        return zip((times_ns + self.zero_ns).tolist(), who.tolist(), strict=True)

    def advance(self) -> None:
        """Makes the next message of the schedule the next to leave."""
        try:
            self.next_ns, self.next_who = next(self.coming)
        except StopIteration:
            prepared, self.prepared = self.prepared, None
            self.coming = self.prepare() if prepared is None else prepared
            self.next_ns, self.next_who = next(self.coming, (NEVER, 0))

    def turn(self) -> None:
        """Sends what is due, and schedules the next turn in time for the next message."""
        self.before_ns = self.looked_ns or clock()
        self.send_due()
        now_ns = clock()
        if now_ns >= self.meter.alarm_ns:
            self.meter.ring(now_ns, 0, 0)
        gap_ns = self.next_ns - now_ns
        if gap_ns > CHORE_NS:
            if self.finished:
                self.looked_ns = self.before_ns = 0
                return
            if self.chore():
                now_ns = clock()
                gap_ns = self.next_ns - now_ns
            if gap_ns > FAR_NS:
                # Whole milliseconds, like the loop's timers, rounded down.
                self.looked_ns = self.before_ns = 0
                self.loop.call_later((gap_ns - MARGIN_NS) // 1_000_000 / 1000, self.turn)
                return
        self.looked_ns = now_ns  # the loop does so when this returns
        self.loop.call_soon(self.turn)

    def send_due(self) -> None:
        """Sends what is due, at most BURST messages."""
        for _ in range(BURST):
            now_ns = clock()
            intended_ns = self.next_ns
            if now_ns < intended_ns:
                return
            client = self.clients[self.next_who]
            if not client.send(intended_ns, now_ns):
                if intended_ns >= self.slice_ns:
                    self.unsent.append(intended_ns)
            elif intended_ns >= self.slice_ns:
                client.sent_in_slice += 1
                self.lag.note(now_ns - intended_ns)
            else:
                self.early_sent += 1
            self.advance()
            if self.outstanding + len(self.unsent) > self.limit:
                self.stop()
                return

    def stop(self) -> None:
        """Gives up to bound memory: more messages wait for their echo than are allowed."""
        self.next_ns = NEVER
        self.schedule.ended = True
        self.forget()
        self.meter.errors[f"stopped: more than {self.limit} messages outstanding"] += 1
        self.stopped = True
        self.on_stop(clock())

    def chore(self) -> bool:
        """Does one piece of work ahead of time; returns whether there was any."""
        if self.prepared is None and not self.schedule.ended:
            self.prepared = self.prepare()
            return True
        for histogram in self.histograms:
            if histogram.waiting > TALLIED:
                histogram.tally()
                return True
        return False

    # The end

    def close(self) -> int:
        """Ends the drain: an echo that has not come counts with the time it was waited for.

        Returns the messages of the slice that were never sent: their connection had ended,
        or this client could not keep up.
        """
        now_ns = clock()
        sent = self.left_on_their_way()
        sent = sent[sent[:, 0] >= self.slice_ns]
        self.latency.add(now_ns - sent[:, 0])
        self.from_send.add(now_ns - sent[:, 1])
        self.least.add(now_ns - sent[:, 1])
        unsent_ns = self.left_unsent()
        self.latency.add(now_ns - unsent_ns)
        unsent = int(unsent_ns.size)
        if not self.finished:
            times_ns = self.left_to_send()
            self.forget()
            self.next_ns = NEVER
            while times_ns.size:
                times_ns = times_ns[times_ns >= self.slice_ns]
                unsent += int(times_ns.size)
                self.latency.add(now_ns - times_ns)
                times_ns = self.schedule.chunk(65_536)[0] + self.zero_ns
        return unsent

    def left_on_their_way(self) -> np.ndarray:
        """When each message without an echo was intended to leave, and when it left."""
        left = [each for client in self.clients for each in client.on_their_way]
        return np.array(left, np.int64).reshape(-1, 2)

    def left_unsent(self) -> np.ndarray:
        """When each message of the slice was due whose connection had ended."""
        return np.array(self.unsent, np.int64)

    def left_to_send(self) -> np.ndarray:
        """When each message is due that the schedule has made and that has not left."""
        late = [self.next_ns, *(time_ns for time_ns, _ in self.coming)]
        late += [time_ns for time_ns, _ in self.prepared or ()]
        return np.array(late, np.int64)

    def forget(self) -> None:
        """Drops what the schedule has made."""
        self.prepared, self.coming = None, iter(())


class Paced(Conversation):
    """One client of the open loop; any number of its messages may be on their way."""

    __slots__ = (
        "echoed_in_slice",
        "next_number",
        "on_their_way",
        "pacer",
        "queued",
        "sent_in_slice",
    )

    def __init__(self, pacer: Pacer, ident: int, filler: bytes) -> None:
        super().__init__(pacer.meter, ident, filler)
        self.pacer = pacer
        self.next_number = 0
        self.on_their_way: deque[tuple[int, int]] = deque()  # intended, sent (ns)
        self.queued = False  # whether something may wait in the transport's queue
        self.sent_in_slice = 0
        self.echoed_in_slice = 0  # echoes of messages intended in the slice

    def say(self, now_ns: int) -> None:
        self.send(now_ns, now_ns)

    def send(self, intended_ns: int, now_ns: int) -> bool:
        """Sends the next message; False when the connection has ended."""
        if self.ended:
            return False
        number = self.next_number
        message = self.prefix + number.to_bytes(8, "little")
        if self.queued and self.must_queue():
            self.transport.write(message)
        else:
            self.queued = False
            try:
                written = os.write(self.fd, message)
            except BlockingIOError:
                written = 0
            except OSError:
                return False  # the loop notices too, and connection_lost() gets the reason
            if written != len(message):
                self.queued = True
                self.transport.write(message[written:])
        self.next_number = number + 1
        self.on_their_way.append((intended_ns, now_ns))
        pacer = self.pacer
        if not pacer.outstanding:
            self.meter.heard_ns = now_ns  # no client waited until now
        pacer.outstanding += 1
        return True

    def must_queue(self) -> bool:
        """Whether the transport must write the next message, as something waits in its queue."""
        return self.transport.get_write_buffer_size() > 0

    def data_received(self, data: bytes) -> None:
        now_ns = clock()
        if (
            data == self.prefix + self.number.to_bytes(8, "little")
            and not self.got
            and self.on_their_way
        ):
            self.heard(now_ns)  # one whole echo: nearly every time
        else:
            self.pieces(data, now_ns)
        pacer = self.pacer
        if now_ns >= pacer.next_ns:
            pacer.send_due()

    def heard(self, now_ns: int) -> None:
        """A whole echo has come."""
        pacer = self.pacer
        intended_ns, sent_ns = self.on_their_way.popleft()
        self.number += 1
        pacer.outstanding -= 1
        noted = 0
        if intended_ns >= pacer.slice_ns:
            noted = 1
            self.echoed_in_slice += 1
            self.note(now_ns - intended_ns)
            pacer.from_send.note(now_ns - sent_ns)
            pacer.least.note(max(0, (pacer.before_ns or now_ns) - sent_ns))
            pacer.read_lag.note(now_ns - pacer.looked_ns if pacer.looked_ns else 0)
        else:
            pacer.early_echoed += 1
            if self.waiter is not None:
                self.pause()
        # Meter.heard(), inlined
        meter = self.meter
        if now_ns - meter.heard_ns > meter.gap_ns:
            meter.gap(now_ns)
        meter.heard_ns = now_ns
        if now_ns >= meter.alarm_ns:
            meter.ring(now_ns, 1, noted)

    def pieces(self, data: bytes, now_ns: int) -> None:
        """Several echoes, parts of them, or something that is not an echo."""
        start = 0
        while start < len(data):
            if not self.got:
                self.expected = self.prefix + self.number.to_bytes(8, "little")
            part = data[start : start + len(self.expected) - self.got]
            if not self.on_their_way or not self.expected.startswith(part, self.got):
                self.distrust(data[start:])
                return
            start += len(part)
            self.got += len(part)
            if self.got == len(self.expected):
                self.got = 0
                self.heard(now_ns)

    def end(self, reason: str) -> None:
        waited = len(self.on_their_way)
        self.pacer.outstanding -= waited  # their echoes are no longer awaited
        if waited and not self.pacer.outstanding:
            self.meter.stretch(clock())
        super().end(reason)

    def mute(self, reason: str) -> None:
        self.pacer.outstanding -= len(self.on_their_way)
        self.on_their_way.clear()
        super().mute(reason)

    @property
    def outstanding(self) -> int:
        return 0 if self.ended else len(self.on_their_way)

    def sent_times(self) -> Iterable[int]:
        return ()  # the pacer counts them, from the intended and the actual send
