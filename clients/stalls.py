"""The stretches in which some client waited and none was answered.

A percentile says how many messages were late; a stall says when, and for how long. The hot
path compares one difference with notable_ns, which rises with the stalls seen so far. So
stalls are noted rarely, however many echoes there are.
"""

import heapq

STALL_NS = 10_000_000  # the least length of a stall
MOST = 1_000  # how many stalls are kept: the longest


class Stalls:
    """The length of the longest stretch without an echo, and the longest stalls."""

    def __init__(self) -> None:
        self.notable_ns = 0  # only a longer stretch needs to be noted
        self.longest_ns = 0
        self.longest_at_ns = 0
        self._kept: list[tuple[int, int]] = []  # length, when it began: a heap

    def note(self, at_ns: int, length_ns: int) -> None:
        """Records a stretch that began at_ns after the slice's start."""
        if length_ns > self.longest_ns:
            self.longest_ns, self.longest_at_ns = length_ns, at_ns
        if length_ns >= STALL_NS:
            heapq.heappush(self._kept, (length_ns, at_ns))
            if len(self._kept) > MOST:
                heapq.heappop(self._kept)
        full = len(self._kept) == MOST
        self.notable_ns = self._kept[0][0] if full else min(self.longest_ns, STALL_NS - 1)

    def in_order(self) -> list[tuple[int, int]]:
        """The kept stalls as (start, length) in ns, ordered by start."""
        return sorted((at_ns, length_ns) for length_ns, at_ns in self._kept)
