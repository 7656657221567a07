"""What the interpreter's lock costs and gives: each server with it and without it. Pure."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ..model import Measurement, Ratio, Row
from . import stats
from .cells import Cell, by_block, ratio_of
from .figures import FIGURES

_LOCK = "--disable-gil"


def compared(rows: Sequence[Row], cells: Mapping[Cell, Sequence[Measurement]]) -> list[Row]:
    """The rows with their ratio to the same server's on a like interpreter that has its lock.

    Alike are interpreters of one version that were built with the same flags but for the lock.
    The ratio is that of the primary figure within blocks, as for every other comparison. A
    server whose lock came on while it served ran with it, and is compared with nothing.
    """
    with_lock = {_pair(row): row for row in rows if row.gil and _LOCK not in row.build}
    return [
        replace(row, without_lock=_ratio(row, other, cells), with_lock=other.server)
        if row.gil is False and (other := with_lock.get(_pair(row)))
        else row
        for row in rows
    ]


def _pair(row: Row) -> tuple[object, ...]:
    return row.contender, row.load, row.python, frozenset(row.build) - {_LOCK}


def _ratio(row: Row, other: Row, cells: Mapping[Cell, Sequence[Measurement]]) -> Ratio | None:
    if not row.status == other.status == "ok":
        return None
    figure = FIGURES[row.load.facts.primary]
    mine, theirs = (by_block(cells[row.load, each.server], figure) for each in (row, other))
    ratios = stats.log_ratios(mine, theirs)
    return ratio_of(stats.median_interval(ratios)) if ratios else None
