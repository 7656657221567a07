"""The course of a load (warm-up, slice, end), driven by the clock that every echo reads.

libuv reads up to 49,152 sockets before it looks at its timers, so the timers of a
saturated loop are seconds late. But every echo reads the clock anyway. So each echo also
compares that time with the meter's next alarm, and what is due is done there, in the hot
path: one comparison per echo. A timer backs up the alarm in case the server sends nothing.

The closed loop's slice consists of whole rounds. Its time runs from the last echo before its
start to the echo with which the clients have had a whole number of turns on average. Otherwise
a loop that answers all its clients together would gain or lose up to a round by chance.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns as clock

import msgspec
from bins import Bins
from conversations import NEVER, Meter
from latencies import TALLIED
from orders import Orders
from plan import Plan, PlanError, SliceLength
from saying import say
from stalls import Stalls

WARM_ROUNDS = 3  # round trips of every client, at least, before the slice
SLICE_ROUNDS = 20  # round trips within the slice, at least
SLICE_WAITS = 2  # a slice also lasts this many times the longest wait for a first echo
LOOK_NS = 100_000_000  # how often to check whether all clients have been answered
NEAR_NS = 50_000_000  # an open loop's slice is announced this long before it starts
LATE_SHARE, LATE_ROUNDS = 0.02, 1.5  # how long a slice may wait for a whole round: the longer
INTERVAL_NS, INTERVALS = 100_000_000, 200  # an interval's least length; how many are enough


def length_s(plan: Plan, round_trip_ns: float, slowest_ns: float) -> float:
    """How long the slice must be (s): enough round trips, but not beyond the ceiling."""
    wanted_ns = max(SLICE_ROUNDS * round_trip_ns, SLICE_WAITS * slowest_ns)
    return min(max(plan.duration_s, wanted_ns / 1e9), max(plan.ceiling_s, plan.duration_s))


class Slice:
    """The measured stretch of time, and the CPU time that this process used in it."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self._start_cpu_ns = time.process_time_ns()

    def end(self, end_ns: int) -> None:
        """Ends the slice, and reports that at once."""
        self.cpu_ns = time.process_time_ns() - self._start_cpu_ns
        self.duration_ns = end_ns - self.start_ns
        say("ended", start_ns=self.start_ns, end_ns=end_ns)

    def figures(self) -> dict[str, object]:
        """The result's figures for the slice's length and this process's CPU time."""
        return {"duration_ns": self.duration_ns, "cpu_ns": self.cpu_ns}


@contextmanager
def slice_at_once() -> Iterator[Slice]:
    """A slice without a warm-up, which lasts as long as the `with` block."""
    say("warmed", round_trip_ns=0, slowest_ns=0, elapsed_ns=0, messages=0)
    measured = Slice(clock())
    yield measured
    measured.end(clock())


class Course:
    """Warm-up, slice and end of one load.

    count: echoes so far. on_their_way: messages on their way (constant in a closed loop and
    in churn). by_rounds: whether the slice ends with a whole round, rather than by the clock.
    """

    def __init__(
        self,
        plan: Plan,
        orders: Orders,
        meter: Meter,
        count: Callable[[], int],
        on_their_way: Callable[[], int],
        *,
        by_rounds: bool = False,
    ) -> None:
        self.plan, self.orders, self.meter = plan, orders, meter
        self.count, self.on_their_way, self.by_rounds = count, on_their_way, by_rounds
        self.all_answered: Callable[[], bool] = _always  # whether every client was, so far
        self.on_start: Callable[[], None] = _nothing
        self.on_end: Callable[[], None] = _nothing
        self.keep: Callable[[], object] = self._keep  # what bounds memory
        # Whether there was a slice: False when the engine left before it gave the length.
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.stalls = Stalls()
        self.round_trip_ns = 0
        self.slowest_ns = 0  # how long the last client waited for its first echo, if longer
        self.slice_s = 0.0
        self.messages = 0  # echoes within the slice
        self.duration_ns = 0
        self.latency_sum_ns = 0
        self.intervals = ""
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns = 0  # when the timer is due
        self._step: Callable[[int], None] = self._waiting

    # The two ways to begin

    def begin(self) -> None:
        """Starts a warm-up that lasts as long as the round trips need."""
        now_ns = self._begin(clock())
        self._due_ns = self._ready_ns = now_ns + int(self.plan.warmup_s * 1e9)
        ceiling_ns = int(self.plan.ceiling_s * 1e9)
        self._latest_ns = max(self._ready_ns, now_ns + ceiling_ns // 2)
        self._patient_ns = max(self._ready_ns, now_ns + ceiling_ns // 4)
        self._step = self._warming
        self._arm(self._ready_ns)

    def begin_at(self, zero_ns: int, slice_ns: int) -> None:
        """Starts a warm-up whose end is known: that of an open loop."""
        self._begin(zero_ns)
        self._slice_ns = slice_ns
        self._due_ns = max(zero_ns, slice_ns - NEAR_NS)
        self._step = self._approaching
        self._arm(self._due_ns)

    def _begin(self, now_ns: int) -> int:
        self.began_ns, self._before = now_ns, self.count()
        self.bins = Bins(self.plan.bins_ms, now_ns)
        self._width_ns, self._row_ns, self._rows_left = INTERVAL_NS, now_ns + INTERVAL_NS, 0
        self.meter.heard_ns = now_ns
        self.meter.ring, self.meter.gap = self.ring, self._gap
        return now_ns

    # The alarm

    def ring(self, now_ns: int, echoes: int = 1, noted: int = 1) -> None:
        """Does what is due. echoes: how many have just come; noted: how many latencies."""
        if self.over.done():
            return
        try:
            self._pass_by(now_ns, echoes, noted)
            self._step(now_ns)
        except Exception as error:
            # It is not the fault of the connection whose echo called this.
            self.stop()
            self.over.set_exception(error)
        if not self.over.done():
            self.meter.alarm_ns = min(self.bins.due_ns, self._row_ns, self._due_ns)

    def _pass_by(self, now_ns: int, echoes: int, noted: int) -> None:
        """Ends the bins and intervals that are over by now, without what has just come."""
        if now_ns < self.bins.due_ns and now_ns < self._row_ns:
            return
        self.bins.pass_by(now_ns, self.count() - self._before - echoes)
        while self._row_ns <= now_ns:
            if self._rows_left > 0:
                self.meter.latencies.next_interval(noted)
                self._rows_left -= 1
            self._row_ns += self._width_ns
        self.keep()

    def _keep(self) -> None:
        # Little and often: many thousands at once would cost twice as much each, and a pause.
        if self.meter.latencies.waiting > TALLIED:
            self.meter.latencies.tally()

    def _arm(self, at_ns: int) -> None:
        """Sets the alarm, and a timer in case no echo comes by then."""
        self.meter.alarm_ns = min(self.bins.due_ns, self._row_ns, self._due_ns)
        self._armed_ns = at_ns
        if self._timer is not None:
            self._timer.cancel()

        def late() -> None:
            now_ns = clock()
            if now_ns < at_ns:  # timers may be early by a millisecond
                self._timer = loop.call_later((at_ns - now_ns) / 1e9, late)
            else:
                self.ring(now_ns, 0, 0)

        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(at_ns - clock(), 0) / 1e9, late)

    # The steps

    def _warming(self, now_ns: int) -> None:
        echoes = self.count() - self._before
        parallel = self.on_their_way()
        if now_ns < self._ready_ns:
            return
        if now_ns < self._latest_ns and echoes < WARM_ROUNDS * parallel:
            self._due_ns = 0  # every echo may be the last one needed
            if self._armed_ns != self._latest_ns:
                self._arm(self._latest_ns)
            return
        elapsed_ns = now_ns - self.began_ns
        if now_ns < self._due_ns:
            return
        some_wait = not self.all_answered()
        if some_wait or self.slowest_ns:
            self.slowest_ns = elapsed_ns
        if some_wait and now_ns < self._patient_ns:
            self._due_ns = min(now_ns + LOOK_NS, self._patient_ns)
            self._arm(self._due_ns)  # perhaps no client is answered meanwhile
            return
        if parallel:
            # Little's law; before the first echo, it is only known to take longer than this.
            self.round_trip_ns = parallel * elapsed_ns // echoes if echoes else elapsed_ns
        self._due_ns, self._step = NEVER, self._waiting
        self._say_warmed(elapsed_ns, echoes)
        if self.plan.hold:
            self.orders.when_told(self._told)
        else:
            self._start(now_ns, length_s(self.plan, self.round_trip_ns, self.slowest_ns))

    def _say_warmed(self, elapsed_ns: int, echoes: int) -> None:
        say(
            "warmed",
            round_trip_ns=self.round_trip_ns,
            slowest_ns=self.slowest_ns,
            elapsed_ns=elapsed_ns,
            messages=echoes,
        )

    def _waiting(self, _: int) -> None:
        self.orders.look()  # with each bin

    def _told(self, line: bytes) -> None:
        """Reads how long the slice is, and starts it now."""
        if self.over.done():
            return
        if not line:
            self.stop()
            self.over.set_result(False)
            return
        try:
            told = msgspec.json.decode(line, type=SliceLength)
            now_ns = clock()
            self._pass_by(now_ns, 0, 0)
            self._start(now_ns, told.slice_s)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.stop()
            self.over.set_exception(PlanError(f"the slice: {error}"))

    def _approaching(self, now_ns: int) -> None:
        if now_ns >= self._due_ns:
            self._say_warmed(now_ns - self.began_ns, self.count() - self._before)
            self._due_ns, self._step = self._slice_ns, self._approached
            self._arm(self._due_ns)

    def _approached(self, now_ns: int) -> None:
        if now_ns >= self._due_ns:
            # The schedule ends at its planned time, however late this was noticed.
            self._start(now_ns, self.plan.duration_s, self._slice_ns)

    def _start(self, now_ns: int, slice_s: float, planned_ns: int | None = None) -> None:
        """Starts the slice now; its length counts from planned_ns if that is given."""
        meter, round_ns = self.meter, self.round_trip_ns
        self.slice_s, slice_ns = slice_s, int(slice_s * 1e9)
        self._from_ns = now_ns
        # Echoes are counted from echo to echo, so the time since the last one counts too,
        # unless the server was silent.
        if self.by_rounds and now_ns - meter.heard_ns <= min(LATE_ROUNDS * round_ns, slice_ns / 10):
            self._from_ns = meter.heard_ns
        meter.heard_ns = now_ns
        self.slice = Slice(now_ns)
        latest_ns = (planned_ns or self._from_ns) + slice_ns
        self._due_ns = latest_ns
        if self.by_rounds:
            latest_ns += int(max(LATE_SHARE * slice_ns, LATE_ROUNDS * round_ns))
        self._latest_ns = latest_ns
        self._echoed_before = self.count()
        self.on_start()
        self._width_ns = max(INTERVAL_NS, slice_ns // INTERVALS)
        self._row_ns = now_ns + self._width_ns
        self._rows_left = max(1, round(slice_ns / self._width_ns)) - 1
        meter.latencies.begin_intervals(self._width_ns)
        meter.gap_ns = 0
        self._step = self._slicing
        self._arm(latest_ns)

    def _slicing(self, now_ns: int) -> None:
        if now_ns < self._due_ns:
            return
        if self.by_rounds and now_ns < self._latest_ns:
            in_a_round = self.on_their_way()
            if in_a_round and (self.count() - self._echoed_before) % in_a_round:
                self._due_ns = 0  # every echo may be the round's last
                return
        self.end(now_ns)

    def end(self, now_ns: int) -> None:
        """Ends the slice now."""
        if self.over.done():
            return
        meter = self.meter
        if self._step != self._slicing:  # given up before it began
            if self._step == self._approaching:
                self._say_warmed(now_ns - self.began_ns, self.count() - self._before)
            self._start(now_ns, self.slice_s)
        self.slice.end(now_ns)
        self.messages = self.count() - self._echoed_before
        # With whole rounds, time runs from echo to echo, so it may differ from the slice's.
        self.duration_ns = max(now_ns - self._from_ns, 1)
        if self.on_their_way():
            meter.stretch(now_ns)
        self.stop()
        self.bins.end(now_ns, self.count() - self._before)
        self.intervals = meter.latencies.end_intervals()
        self.latency_sum_ns = meter.latencies.sum_ns
        self.on_end()
        self.over.set_result(True)

    def stop(self) -> None:
        """No more alarms."""
        self.meter.alarm_ns = self.meter.gap_ns = NEVER
        if self._timer is not None:
            self._timer.cancel()

    # Stalls

    def _gap(self, now_ns: int) -> None:
        # An echo read together with the one that started the slice may be a little older.
        since_ns = max(self.meter.heard_ns, self.slice.start_ns)
        self.stalls.note(since_ns - self.slice.start_ns, now_ns - since_ns)
        self.meter.gap_ns = self.stalls.notable_ns

    def figures(self) -> dict[str, object]:
        """The result's figures for the slice itself."""
        return {
            **self.slice.figures(),
            "duration_ns": self.duration_ns,
            "messages": self.messages,
            "slice_s": self.slice_s,
            "bins": self.bins.readings,
            "slice_start_ns": self.slice.start_ns - self.began_ns,
            "intervals": self.intervals,
            "stalls": self.stalls.in_order(),
            "longest_stall_ns": self.stalls.longest_ns,
            "longest_stall_at_ns": self.stalls.longest_at_ns,
        }


def _always() -> bool:
    """No client is waited for."""
    return True


def _nothing() -> None:
    """Does nothing."""
