"""How many echoes had come by when: what tells whether a trial has settled.

A timer reads a count that is kept anyway, so this costs next to nothing. The timer of a
saturated loop is late; so each reading has its own time. Readings are cumulative: leaving
out every second one doubles the bins' width and loses nothing else, which keeps the memory
constant however long the run.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns as clock

MOST = 4096  # readings, before every second one is left out


class Bins:
    """Readings of a count, about every width_ms from begin() to end()."""

    def __init__(self, width_ms: int, count: Callable[[], int]) -> None:
        self.width_ns = width_ms * 1_000_000
        self.count = count
        self.readings: list[tuple[int, int]] = []  # ns since the beginning, echoes since then
        self.began_ns = 0
        self._before = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Starts the timer; from here everything counts."""
        self.began_ns = clock()
        self._before = self.count()
        self._wait(0)

    def end(self) -> None:
        """The last reading."""
        if self._timer is not None:
            self._timer.cancel()
        self._read()

    def _read(self) -> int:
        elapsed_ns = clock() - self.began_ns
        self.readings.append((elapsed_ns, self.count() - self._before))
        if len(self.readings) >= MOST:
            del self.readings[::2]
            self.width_ns *= 2
        return elapsed_ns

    def _turn(self) -> None:
        self._wait(self._read())

    def _wait(self, elapsed_ns: int) -> None:
        """Until the next whole bin; timers may be early by a millisecond, hence the rounding."""
        next_ns = (round(elapsed_ns / self.width_ns) + 1) * self.width_ns
        delay_s = (next_ns - elapsed_ns) / 1e9
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._turn)
