"""Rows as plain records, for programs."""

import math
from typing import Any

from msgspec import to_builtins

from ..model import Row, Spread


def as_dict(row: Row) -> dict[str, Any]:
    """A row for programs: medians under the plain key, the range beside them."""
    flat: dict[str, Any] = {}
    for key in row.__struct_fields__:
        value = getattr(row, key)
        if isinstance(value, Spread) or (value is None and key in _SPREADS):
            flat[key] = value.median if value else None
            flat[f"{key}_least"] = value.least if value else None
            flat[f"{key}_greatest"] = value.greatest if value else None
        else:
            flat[key] = finite(to_builtins(list(value) if isinstance(value, tuple) else value))
    return flat


def finite(value: Any) -> Any:
    """Builtins without infinities, which JSON has no word for: null in their place."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_SPREADS = {name for name, kind in Row.__annotations__.items() if "Spread" in str(kind)}
