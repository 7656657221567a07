"""Cumulative echo counts over time, which show whether a trial has settled.

A reading is the count at exactly the end of a bin: the first echo after it (or the slice's
end) shows how many had come before. So the readings of all workers lie on one grid. No timer
is needed, which a saturated loop would starve. As readings are cumulative, leaving out every
second one only doubles the bins' width; this keeps memory constant however long the run.
"""

MOST = 4096  # readings; at this many, every second one is left out


class Bins:
    """Readings of a count at the end of each bin, from began_ns on."""

    def __init__(self, width_ms: int, began_ns: int) -> None:
        self.width_ns = width_ms * 1_000_000
        self.began_ns = began_ns
        self.due_ns = began_ns + self.width_ns  # the end of the current bin
        self.readings: list[tuple[int, int]] = []  # ns since the beginning, echoes since then

    def pass_by(self, now_ns: int, echoes: int) -> None:
        """Reads all bins that have ended by now. echoes: how many had come before now."""
        while self.due_ns <= now_ns:
            self._read(self.due_ns, echoes)
            self.due_ns += self.width_ns

    def end(self, now_ns: int, echoes: int) -> None:
        """Takes the last reading. echoes: how many have come, the last one included."""
        if self.readings and self.readings[-1][0] == now_ns - self.began_ns:
            self.readings.pop()
        self._read(now_ns, echoes)

    def _read(self, at_ns: int, echoes: int) -> None:
        self.readings.append((at_ns - self.began_ns, echoes))
        if len(self.readings) >= MOST:
            del self.readings[::2]
            self.width_ns *= 2
