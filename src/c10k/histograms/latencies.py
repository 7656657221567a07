"""Latency histograms in this suite's format: HdrHistogram V2, base64, in ns, three digits.

The library allocates as much memory as a histogram's header asks for, and session files may
come from strangers. So a histogram with other bounds, or of another size than its header
says, is refused before the library decodes it.
"""

import binascii
import struct
import zlib

from hdrh.histogram import HdrHistogram

from ..errors import UserError

BOUNDS = (1, 3_600_000_000_000, 3)  # least and greatest value in ns, significant digits
_MOST_BYTES = 1024 * 1024  # of an unpacked histogram; this suite's have about 34,000 counters
_OUTER = struct.Struct(">II")  # cookie, length of what follows
_INNER = struct.Struct(">IIIIQQd")  # cookie, length, offset, digits, least, greatest, ratio


class HistogramError(UserError):
    """Text that is not such a histogram; the message gives the reason in one line."""


def empty() -> HdrHistogram:
    """An empty histogram, to which others may be added."""
    return HdrHistogram(*BOUNDS)


def decoded(text: str) -> HdrHistogram:
    """The histogram that a text encodes. Raises HistogramError."""
    try:
        packed = binascii.a2b_base64(text, strict_mode=True)
        unpacked = zlib.decompressobj().decompress(packed[_OUTER.size :], _MOST_BYTES)
        _, length, _, digits, least, greatest, _ = _INNER.unpack_from(unpacked)
        ours = (least, greatest, digits) == BOUNDS
        if not ours or len(unpacked) != _INNER.size + length:
            raise ValueError("not in this suite's format")
        return HdrHistogram.decode(text)
    except Exception as error:  # the library raises half a dozen kinds
        why = str(error) or type(error).__name__
        raise HistogramError(f"a histogram that cannot be read: {why}") from None
