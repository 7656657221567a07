"""Latencies in constant memory: note each one cheaply, count them in bulk.

Noting is one array append; an HdrHistogram's own record_value costs many times that and
would be a good part of what a message costs. Some thousands at a time, the
noted values are sorted into log-linear buckets with numpy, which takes some 15 ns each.

So that one sees when the slow ones came, the slice is also cut into intervals, each with
a coarse histogram of its own: four buckets for every doubling from 1,024 ns on.

The buckets are HdrHistogram's for three significant digits and a unit of 1 ns
(https://github.com/HdrHistogram/HdrHistogram): 2048 buckets one wide, then 1024 of
every doubling, so that a bucket is never wider than 1/1024 of its value.
"""

import base64
import zlib
from array import array

import numpy as np
from hdrh.histogram import HdrHistogram

TALLIED = 4096  # values worth a tally, most of whose cost is the same however many there are
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
        self.count = 0  # tallied
        self.sum_ns = 0  # of the tallied, exactly
        self._forgotten = 0  # by clear()
        self._rows: list[np.ndarray] = []  # the coarse counts of each interval
        self._cuts: list[int] = []  # where in the noted values the next intervals begin
        self._width_ns = 0  # of an interval; 0: values belong to none
        self._counts = np.zeros(bucket_of(np.array([HIGHEST_NS]))[0] + 1, np.int64)

    @property
    def waiting(self) -> int:
        """How many are noted and not tallied yet."""
        return len(self._noted)

    @property
    def ever(self) -> int:
        """How many there have been, those forgotten included; cheap."""
        return self._forgotten + self.count + len(self._noted)

    def tally(self) -> int:
        """Counts what was noted since the last call, and returns how much there is in all."""
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
            # Only the buckets from the least to the greatest: all would cost more than counting.
            least = int(buckets.min())
            counts = np.bincount(buckets - least)
            self._counts[least : least + counts.size] += counts
            self.count += values.size
            self.sum_ns += int(values.sum())

    # Intervals

    def begin_intervals(self, width_ns: int) -> None:
        """What is noted and not tallied yet belongs to the first one, which begins."""
        self._width_ns, self._rows = width_ns, [np.zeros(COARSE, np.uint32)]

    def next_interval(self, back: int) -> None:
        """What is noted from here on belongs to the next one, and the last `back` values do."""
        self._cuts.append(len(self._noted) - back)

    def end_intervals(self) -> str:
        """What is noted from here on belongs to none.

        Returns them: width in ns, colon, base64 of the zlib-compressed little-endian uint32
        array of shape (intervals, 128).
        """
        self.tally()
        width_ns, self._width_ns = self._width_ns, 0
        rows = np.array(self._rows, "<u4")
        return f"{width_ns}:{base64.b64encode(zlib.compress(rows.tobytes())).decode('ascii')}"

    # The whole

    def clear(self) -> None:
        """Forgets everything, the noted and the tallied."""
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
    # frexp's exponent is the bit length, exactly, for every integer below 2**53
    bits = np.frexp((values | (2 * _HALF - 1)).astype(np.float64))[1].astype(np.int64)
    doubling = bits - (_HALF_BITS + 1)
    return ((doubling + 1) << _HALF_BITS) + (values >> doubling) - _HALF


def coarse(values: np.ndarray) -> np.ndarray:
    """How many values (ns) fall into each of an interval's buckets, uint32."""
    doublings = np.log2(np.maximum(values, _COARSE_LEAST_NS) / _COARSE_LEAST_NS)
    buckets = np.minimum((_COARSE_A_DOUBLING * doublings).astype(np.int64), COARSE - 1)
    return np.bincount(buckets, minlength=COARSE).astype(np.uint32)


def value_of(bucket: int) -> int:
    """The lowest value that falls into a bucket."""
    doubling = max((bucket >> _HALF_BITS) - 1, 0)
    within = bucket - (doubling << _HALF_BITS)
    return within << doubling
