"""Numbers as people read them: three digits, ratios with their intervals."""

import math

from ..model import Ratio

UNKNOWN = "–"


def people(clients: int) -> str:
    """1 client, 10,000 clients."""
    return f"{clients:,} client{'s' * (clients != 1)}"


def ratio(value: Ratio | None) -> str:
    """A ratio with its 95 % interval; an end that a figure of 0 leaves open is 0 or ∞."""
    if value is None:
        return UNKNOWN
    low, high = value.low, value.high
    if low is None and high is None:
        return _times(value.median, 2)
    low, high = low or 0.0, math.inf if high is None else high
    digits = 3 if low and high / low < 1.1 else 2
    return f"{_times(value.median, digits)} ({_times(low, digits)} to {_times(high, digits)})"


def _times(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else f"{value:.{digits}f}" if value else "0"


def significant(value: float) -> str:
    """Three significant digits, thousands separated, no exponent above a thousandth."""
    rounded = float(f"{value:.3g}")
    size = abs(rounded)
    if size >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:.1f}" if size >= 10 else f"{rounded:.2f}" if size >= 1 else f"{rounded:g}"
