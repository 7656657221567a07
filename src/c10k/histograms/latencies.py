"""Histograms as this suite writes them: HdrHistogram V2, base64, in ns, three digits.

The library decodes whatever its header asks for. A session file is anybody's, so what is
not one of ours, or would grow beyond what ours can, is refused before it gets there.
"""

import binascii
import struct
import zlib

from hdrh.histogram import HdrHistogram

from ..errors import UserError

BOUNDS = (1, 3_600_000_000_000, 3)  # least and greatest value in ns, significant digits
_MOST_BYTES = 1024 * 1024  # of one, unpacked; ours have some 34,000 counters
_OUTER = struct.Struct(">II")  # cookie, length of what follows
_INNER = struct.Struct(">IIIIQQd")  # cookie, length, offset, digits, least, greatest, ratio


class HistogramError(UserError):
    """Text that is no histogram of ours; the message says so in one line."""


def empty() -> HdrHistogram:
    """One that others may be added to."""
    return HdrHistogram(*BOUNDS)


def decoded(text: str) -> HdrHistogram:
    """The histogram in a text that this suite has written. Raises HistogramError."""
    try:
        packed = binascii.a2b_base64(text, strict_mode=True)
        unpacked = zlib.decompressobj().decompress(packed[_OUTER.size :], _MOST_BYTES)
        _, length, _, digits, least, greatest, _ = _INNER.unpack_from(unpacked)
        ours = (least, greatest, digits) == BOUNDS
        if not ours or len(unpacked) != _INNER.size + length:
            raise ValueError("not one of this suite's")
        return HdrHistogram.decode(text)
    except Exception as error:  # the library's are of half a dozen kinds
        why = str(error) or type(error).__name__
        raise HistogramError(f"a histogram that cannot be read: {why}") from None
