"""Latencies in constant memory: note each one cheaply, count them in bulk.

Noting is one array append. An HdrHistogram's own record_value costs many times that, and
would be a large part of a message's cost. Noted values are sorted into log-linear buckets
with numpy, thousands at a time, which takes about 15 ns each.

To show when the slow ones came, the slice is also cut into intervals, each with a coarse
histogram: four buckets for every doubling from 1,024 ns on.

The buckets are HdrHistogram's for three significant digits and a unit of 1 ns
(https://github.com/HdrHistogram/HdrHistogram): 2048 buckets one wide, then 1024 of
every doubling, so that a bucket is never wider than 1/1024 of its value.
"""

import base64
import zlib
from array import array

import numpy as np
from hdrh.histogram import HdrHistogram

TALLIED = 4096  # values worth a tally: most of its cost does not depend on their number
HIGHEST_NS = 3_600_000_000_000  # one hour
DIGITS = 3
_HALF_BITS = 10  # a doubling has 2**10 buckets
_HALF = 1 << _HALF_BITS
COARSE = 128  # buckets of an interval
_COARSE_LEAST_NS = 1024
_COARSE_A_DOUBLING = 4


class Latencies:
    """A histogram of durations in ns. note() is the hot path; call tally() now and then."""

    def __init__(self) -> None:
        self._noted = array("q")
        self.note = self._noted.append
        self.count = 0  # tallied values
        self.sum_ns = 0  # the exact sum of the tallied values
        self._forgotten = 0  # values that clear() has dropped
        self._rows: list[np.ndarray] = []  # the coarse counts of each interval
        self._cuts: list[int] = []  # where in the noted values the next intervals begin
        self._width_ns = 0  # an interval's length; 0: values belong to no interval
        self._counts = np.zeros(bucket_of(np.array([HIGHEST_NS]))[0] + 1, np.int64)

    @property
    def waiting(self) -> int:
        """How many values are noted and not tallied yet."""
        return len(self._noted)

    @property
    def ever(self) -> int:
        """How many values were ever noted, including forgotten ones. Cheap."""
        return self._forgotten + self.count + len(self._noted)

    def tally(self) -> int:
        """Counts the values noted since the last call; returns how many there are in all."""
        if self._noted or self._cuts:
            noted = np.array(self._noted, np.int64)
            del self._noted[:]
            if self._width_ns:
                self._add_to_rows(noted)
            self.add(noted)
        return self.count

    def _add_to_rows(self, noted: np.ndarray) -> None:
        cuts, self._cuts = self._cuts, []
        first, *others = np.split(noted, cuts)
        self._rows[-1] += coarse(first)
        self._rows += [coarse(values) for values in others]

    def add(self, values: np.ndarray) -> None:
        """Counts many at once, without noting them."""
        if values.size:
            buckets = bucket_of(np.minimum(np.maximum(values, 0), HIGHEST_NS))
            # Only the buckets from the least to the greatest: using all costs more than counting.
            least = int(buckets.min())
            counts = np.bincount(buckets - least)
            self._counts[least : least + counts.size] += counts
            self.count += values.size
            self.sum_ns += int(values.sum())

    # Intervals

    def begin_intervals(self, width_ns: int) -> None:
        """Begins the first interval; values noted but not tallied yet belong to it."""
        self._width_ns, self._rows = width_ns, [np.zeros(COARSE, np.uint32)]

    def next_interval(self, back: int) -> None:
        """Begins the next interval; the last `back` noted values already belong to it."""
        self._cuts.append(len(self._noted) - back)

    def end_intervals(self) -> str:
        """Ends the last interval; later values belong to none.

        Returns all intervals: width in ns, colon, base64 of the zlib-compressed little-endian
        uint32 array of shape (intervals, 128).
        """
        self.tally()
        width_ns, self._width_ns = self._width_ns, 0
        rows = np.array(self._rows, "<u4")
        return f"{width_ns}:{base64.b64encode(zlib.compress(rows.tobytes())).decode('ascii')}"

    # The whole

    def clear(self) -> None:
        """Forgets all values, noted and tallied."""
        self._forgotten = self.ever
        del self._noted[:]
        self._counts[:] = 0
        self.count = self.sum_ns = 0

    def encoded(self) -> str:
        """The histogram in HdrHistogram's V2 compressed encoding, base64."""
        self.tally()
        histogram = HdrHistogram(1, HIGHEST_NS, DIGITS)
        for bucket in np.flatnonzero(self._counts):
            histogram.record_value(value_of(int(bucket)), int(self._counts[bucket]))
        return str(histogram.encode(), "ascii")


def bucket_of(values: np.ndarray) -> np.ndarray:
    """The bucket index of each value (int64, 0 to 2**52), as HdrHistogram counts them."""
    # frexp's exponent is exactly the bit length for every integer below 2**53
    bits = np.frexp((values | (2 * _HALF - 1)).astype(np.float64))[1].astype(np.int64)
    doubling = bits - (_HALF_BITS + 1)
    return ((doubling + 1) << _HALF_BITS) + (values >> doubling) - _HALF


def coarse(values: np.ndarray) -> np.ndarray:
    """How many values (ns) fall into each coarse bucket of an interval, as uint32."""
    doublings = np.log2(np.maximum(values, _COARSE_LEAST_NS) / _COARSE_LEAST_NS)
    buckets = np.minimum((_COARSE_A_DOUBLING * doublings).astype(np.int64), COARSE - 1)
    return np.bincount(buckets, minlength=COARSE).astype(np.uint32)


def value_of(bucket: int) -> int:
    """The lowest value that falls into a bucket."""
    doubling = max((bucket >> _HALF_BITS) - 1, 0)
    within = bucket - (doubling << _HALF_BITS)
    return within << doubling
