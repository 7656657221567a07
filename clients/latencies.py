"""Latencies in constant memory: note each one cheaply, count them in bulk.

Noting is one array append; an HdrHistogram's own record_value costs many times that and
would be a good part of what a message costs. Four times a second the
noted values are sorted into log-linear buckets with numpy, which for a million values
takes milliseconds.

The buckets are HdrHistogram's for three significant digits and a unit of 1 ns
(https://github.com/HdrHistogram/HdrHistogram): 2048 buckets one wide, then 1024 of
every doubling, so that a bucket is never wider than 1/1024 of its value.
"""

from array import array

import numpy as np
from hdrh.histogram import HdrHistogram

HIGHEST_NS = 3_600_000_000_000  # one hour
DIGITS = 3
_HALF_BITS = 10  # a doubling has 2**10 buckets
_HALF = 1 << _HALF_BITS


class Latencies:
    """A histogram of durations in ns. note() is the hot path; call tally() now and then."""

    def __init__(self) -> None:
        self._noted = array("q")
        self.note = self._noted.append
        self.count = 0  # tallied
        self._forgotten = 0  # by clear()
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
        if self._noted:
            noted = np.array(self._noted, np.int64)
            del self._noted[:]
            self.add(noted)
        return self.count

    def add(self, values: np.ndarray) -> None:
        """Counts many at once, without noting them."""
        if values.size:
            buckets = bucket_of(np.minimum(np.maximum(values, 0), HIGHEST_NS))
            # Only the buckets from the least to the greatest: all would cost more than counting.
            least = int(buckets.min())
            counts = np.bincount(buckets - least)
            self._counts[least : least + counts.size] += counts
            self.count += values.size

    def clear(self) -> None:
        """Forgets everything, the noted and the tallied."""
        self._forgotten = self.ever
        del self._noted[:]
        self._counts[:] = 0
        self.count = 0

    def encoded(self) -> str:
        """The histogram in HdrHistogram's V2 compressed encoding, base64."""
        self.tally()
        histogram = HdrHistogram(1, HIGHEST_NS, DIGITS)
        for bucket in np.flatnonzero(self._counts):
            histogram.record_value(value_of(int(bucket)), int(self._counts[bucket]))
        return histogram.encode().decode("ascii")


def bucket_of(values: np.ndarray) -> np.ndarray:
    """The bucket index of each value (int64, 0 to 2**52), as HdrHistogram counts them."""
    # frexp's exponent is the bit length, exactly, for every integer below 2**53
    bits = np.frexp((values | (2 * _HALF - 1)).astype(np.float64))[1].astype(np.int64)
    doubling = bits - (_HALF_BITS + 1)
    return ((doubling + 1) << _HALF_BITS) + (values >> doubling) - _HALF


def value_of(bucket: int) -> int:
    """The lowest value that falls into a bucket."""
    doubling = max((bucket >> _HALF_BITS) - 1, 0)
    within = bucket - (doubling << _HALF_BITS)
    return within << doubling
