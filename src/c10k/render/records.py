"""Rows as plain records for programs: shared by --json, CSV and c10k.records()."""

import math
from typing import Any

from msgspec import to_builtins

from ..judge.figures import FIGURES
from ..model import Compared, Comparison, Judged, Row
from .columns import rows


def as_dict(row: Row) -> dict[str, Any]:
    """A row as a flat record: each median under its figure's key, the range beside it.

    None is an unknown value, or an infinite one, which JSON cannot represent.
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
    """The rows of a judged session as flat records, in the order of the tables.

    The list can be passed to a pandas or polars DataFrame. A figure has three keys: NAME is
    its median over the blocks, NAME_least and NAME_greatest are its range. The unit is in the
    name (messages_per_s, latency_p99_us). docs/api.md lists the keys.
    """
    return [as_dict(row) for row in rows(judged)]


def compared_as_dict(row: Compared) -> dict[str, Any]:
    """A row of a comparison as a record, with its load written as in as_dict()."""
    found: dict[str, Any] = {}
    for key, value in to_builtins(row).items():
        found |= {"load": row.load.label, "clients": row.clients} if key == "load" else {key: value}
    return found


def comparison_as_dict(found: Comparison) -> dict[str, Any]:
    """A whole comparison, for JSON."""
    return {**to_builtins(found), "rows": [compared_as_dict(row) for row in found.rows]}


def finite(value: Any) -> Any:
    """Builtins with None in place of infinities and NaN, which JSON cannot represent."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
