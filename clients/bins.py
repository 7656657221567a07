"""How many echoes had come by when: what tells whether a trial has settled.

A reading is of a whole bin's end, exactly: the first echo after it (or the slice's end)
says how many had come before. So the readings of all workers lie on one grid, and no
timer is needed, which a saturated loop would starve. Readings are cumulative: leaving
out every second one doubles the bins' width and loses nothing else, which keeps the
memory constant however long the run.
"""

MOST = 4096  # readings, before every second one is left out


class Bins:
    """Readings of a count at the end of each bin, from began_ns on."""

    def __init__(self, width_ms: int, began_ns: int) -> None:
        self.width_ns = width_ms * 1_000_000
        self.began_ns = began_ns
        self.due_ns = began_ns + self.width_ns  # the end of the current bin
        self.readings: list[tuple[int, int]] = []  # ns since the beginning, echoes since then

    def pass_by(self, now_ns: int, echoes: int) -> None:
        """All bins that have ended by now; echoes: how many had come before now."""
        while self.due_ns <= now_ns:
            self._read(self.due_ns, echoes)
            self.due_ns += self.width_ns

    def end(self, now_ns: int, echoes: int) -> None:
        """The last reading; echoes: how many have come, the last one included."""
        if self.readings and self.readings[-1][0] == now_ns - self.began_ns:
            self.readings.pop()
        self._read(now_ns, echoes)

    def _read(self, at_ns: int, echoes: int) -> None:
        self.readings.append((at_ns - self.began_ns, echoes))
        if len(self.readings) >= MOST:
            del self.readings[::2]
            self.width_ns *= 2
