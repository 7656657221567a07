"""Counts, shares and times as people write them: 10k, 3%, 20m."""

import re


def number(text: str) -> int:
    """A count as people write it: 100, 10k, 10_000, 2M. Raises ValueError."""
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?)([kKmM]?)", text.strip())
    if match is None or len(text) > 20:
        raise ValueError(f"invalid count {text!r}: write 100, 10k or 1M")
    value = float(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2].lower()]
    if value != int(value):
        raise ValueError(f"invalid count {text!r}: it is not a whole number")
    return int(value)


def share(text: str) -> float:
    """A share as people write it: 3%, 0.5 %, 0.03. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(%?)", text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < value <= 1:
        raise ValueError(
            f"invalid share {text!r}: write more than 0% and up to 100%, for example 3%"
        )
    return value


def seconds(text: str) -> float:
    """A time as people write it: 90s, 20m, 1.5h. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smh])", text.strip())
    if match is None:
        raise ValueError(f"invalid time {text!r}: write 90s, 20m or 1h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
