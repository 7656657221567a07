"""Rows as plain records, for programs: what --json, CSV and c10k.records() have in common."""

import math
from typing import Any

from msgspec import to_builtins

from ..judge.figures import FIGURES
from ..model import Compared, Comparison, Judged, Row
from .columns import rows


def as_dict(row: Row) -> dict[str, Any]:
    """A row as a flat record: medians under the plain key, the range beside them.

    None is what is not known; an infinity, for which JSON has no word, is None as well.
    """
    flat: dict[str, Any] = {}
    for key in row.__struct_fields__:
        value = getattr(row, key)
        if key == "load":
            flat |= {"load": row.load.label, "clients": row.clients}
        elif key == "limiters":
            flat["limiter"] = " / ".join(map(str, row.limiters))
        elif key in FIGURES:
            flat[key] = value.median if value else None
            flat[f"{key}_least"] = value.least if value else None
            flat[f"{key}_greatest"] = value.greatest if value else None
        else:
            flat[key] = finite(to_builtins(list(value) if isinstance(value, tuple) else value))
    return flat


def records(judged: Judged) -> list[dict[str, Any]]:
    """The rows of a judged session as flat records, in the order that the tables show.

    A pandas or polars DataFrame takes the list as it is. A figure over the blocks is three
    keys: its median under the figure's name, and NAME_least and NAME_greatest. The unit is in
    the name (messages_per_s, latency_p99_us). docs/api.md lists the keys.
    """
    return [as_dict(row) for row in rows(judged)]


def compared_as_dict(row: Compared) -> dict[str, Any]:
    """A row of a comparison; its load as in as_dict()."""
    found: dict[str, Any] = {}
    for key, value in to_builtins(row).items():
        found |= {"load": row.load.label, "clients": row.clients} if key == "load" else {key: value}
    return found


def comparison_as_dict(found: Comparison) -> dict[str, Any]:
    """A whole comparison, for JSON."""
    return {**to_builtins(found), "rows": [compared_as_dict(row) for row in found.rows]}


def finite(value: Any) -> Any:
    """Builtins without infinities, which JSON has no word for: None in their place."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
