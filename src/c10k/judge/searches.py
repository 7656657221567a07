"""Compares two sides that are searches: how many clients each server holds on either. Pure."""

from collections.abc import Sequence
from itertools import chain

from msgspec.structs import replace

from ..model import BreakingPoint, Compared, ComparedVerdict, Comparison, Ratio, Session, Spread
from .cells import Cell
from .comparison import BREAKING, NothingInCommon, comparison_of, cores_differ, row_of, what_it_has
from .evidence import ENOUGH
from .rows import judge


def searches(
    a: Sequence[Session],
    b: Sequence[Session],
    names: tuple[str, str],
    only: Sequence[tuple[str, str]] = (),
) -> Comparison:
    """The breaking points of B over A. only: pairs (in A, in B); empty: each server with itself."""
    levels = {
        (session.plan.workload.search and session.plan.workload.search.p99_ms,
         replace(session.plan.workload.loads[0], clients=1))
        for session in (*a, *b)
    }  # fmt: skip
    if len(levels) > 1:
        raise NothingInCommon("nothing in common: they do not search for the same service level")
    points = [[{p.server: p for p in judge(s).breaking} for s in side] for side in (a, b)]
    planned = [[server.name for s in side for server in s.plan.servers] for side in (a, b)]
    pairs = only or [(name, name) for name in dict.fromkeys(chain(*planned))]
    known = [pair for pair in pairs if pair[0] in planned[0] and pair[1] in planned[1]]
    if not known:
        raise NothingInCommon(
            f"nothing in common: {names[0]} has {what_it_has(a[0])}; "
            f"{names[1]} has {what_it_has(b[0])}"
        )
    every = [search for s in (*a, *b) if (search := s.plan.workload.search)]
    load = replace(a[0].plan.workload.loads[0], clients=max(each.most for each in every))
    close = max(each.within for each in every)
    rows = [
        _farther(
            (load, new if old == new else f"{new} / {old}"),
            [found[old] for found in points[0] if old in found],
            [found[new] for found in points[1] if new in found],
            close,
        )
        for old, new in pairs
    ]
    few = "one search does not show how much searches differ"
    said = ("" if min(len(a), len(b)) >= ENOUGH else few, cores_differ((*a, *b)))
    return comparison_of(names, rows, said, (a[0], b[0]))


def _farther(
    cell: Cell, a: Sequence[BreakingPoint], b: Sequence[BreakingPoint], close: float
) -> Compared:
    """The row of one server: the least count that held and the greatest that failed, per side."""
    reached = [min((point.holds or 0 for point in side), default=0) for side in (a, b)]
    failing = [_fails(side) for side in (a, b)]
    spreads = [
        Spread(holds, holds, fails or holds) if holds else None
        for holds, fails in zip(reached, failing, strict=True)
    ]
    why = "; ".join(
        f"{name} {'held no count: ' + (side[0].reason or side[0].broke) if side else 'has none'}"
        for name, side, holds in (("A", a, reached[0]), ("B", b, reached[1]))
        if not holds
    )
    both = spreads[0], spreads[1]
    if why:
        words: dict[tuple[bool, bool], ComparedVerdict] = {
            (True, False): "broken",
            (False, True): "mended",
        }
        word = words.get((bool(reached[0]), bool(reached[1])), "incomparable")
        return row_of(cell, BREAKING, both, None, word, why)
    (old, new), (old_fails, new_fails) = reached, failing
    ratio = Ratio(
        new / old,
        new / old_fails if old_fails else None,
        new_fails / old if new_fails else None,
        min(len(a), len(b)),
    )
    if not old_fails and not new_fails:
        return row_of(cell, BREAKING, both, None, "same", "both hold the highest count tried")
    verdict: ComparedVerdict = "not resolved"
    if old_fails and new > old_fails * (1 + close):
        verdict = "farther"
    elif new_fails and old > new_fails * (1 + close):
        verdict = "nearer"
    return row_of(cell, BREAKING, both, ratio, verdict)


def _fails(points: Sequence[BreakingPoint]) -> int | None:
    """The greatest count at which a search failed; None when any search did not fail."""
    known = [point.fails for point in points if point.fails is not None]
    return max(known) if known and len(known) == len(points) else None
