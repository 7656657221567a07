"""Latencies by time within a slice: a coarse histogram for each interval of it.

A stall makes thousands of messages late at once, but is one event, not thousands. So how
well a percentile is known depends on how many intervals hold latencies beyond it.

The text format is the intervals' width in ns, a colon, and base64 of the zlib-compressed
counts: little-endian, 32 bits, one row per interval. A row has BUCKETS buckets. Bucket b
begins at 1.024 µs × 2^(b/4), so buckets are quarter octaves, 19 % wide. clients/README.md
describes the format, too.
"""

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .latencies import HistogramError

BUCKETS = 128
_LEAST_NS = 1024
_MOST_ROWS = 10_000  # in one text; the client writes about 200
_Counts = NDArray[np.int64]


class IntervalsError(HistogramError):
    """Text that is not in this format; the message gives the reason in one line."""


def bucket_of(latency_ns: float) -> int:
    """The bucket that holds a latency."""
    return int(np.clip(np.floor(4 * np.log2(max(latency_ns, 1) / _LEAST_NS)), 0, BUCKETS - 1))


def decoded(text: str) -> tuple[int, _Counts]:
    """(width of an interval in ns, counts by interval and bucket). Raises IntervalsError."""
    width, _, packed = text.partition(":")
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(binascii.a2b_base64(packed, strict_mode=True), _MOST_ROWS * 512)
        counts = np.frombuffer(raw, "<u4").reshape(-1, BUCKETS).astype(np.int64)
        width_ns = int(width)
    except (ValueError, zlib.error) as error:
        raise IntervalsError(f"intervals that cannot be read: {error}") from None
    if not 0 < width_ns < 10**15:
        raise IntervalsError(f"intervals that cannot be read: {width_ns} ns is not a valid width")
    return width_ns, counts


def encoded(width_ns: int, counts: _Counts) -> str:
    """The text for these counts by interval and bucket."""
    raw = np.minimum(counts, 2**32 - 1).astype("<u4").tobytes()
    return f"{width_ns}:{base64.b64encode(zlib.compress(raw, 9)).decode('ascii')}"


def added(texts: Sequence[str]) -> str:
    """Several workers' intervals added up; "" when any is "", or when their widths differ."""
    if not all(texts):
        return ""
    if len(texts) == 1:
        return texts[0]
    known = [decoded(text) for text in texts]
    if len({width_ns for width_ns, _ in known}) > 1:
        return ""
    whole = np.zeros((max(len(counts) for _, counts in known), BUCKETS), np.int64)
    for _, counts in known:
        whole[: len(counts)] += counts
    return encoded(known[0][0], whole)


def holding(text: str, latency_ns: float) -> int | None:
    """How many intervals hold a latency of at least about latency_ns; None when text is empty."""
    if not text:
        return None
    _, counts = decoded(text)
    return int((counts[:, bucket_of(latency_ns) :].sum(axis=1) > 0).sum())
