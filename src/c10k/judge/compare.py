"""Compares two sides row by row: a ratio with its interval, and a verdict or a reason. Pure.

A side is one session, several sessions, or one server of a session. A cell is one server
under one load. Every cell that either side planned gets a row, also where a side has no
figures: a server that worked on side A and fails on side B is broken.

What may be claimed depends on what is repeated. Two servers of one session both run in each
of its blocks, and disturbances of the machine affect both, so they are compared within the
blocks. Two sessions share no block, and the blocks of one session do not show how much
sessions differ. There the repeated unit is the session. With three or more sessions on each
side, every session gives one value. With fewer, a series of equal sessions must show how
much sessions differ. Without such a series, without a control, or with fewer than three
blocks, the verdict is "cannot be told".
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import asdict, replace

from ..model import Compared, ComparedVerdict, Comparison, Load, Ratio, Session
from ..plan.gates import DISTURBANCES
from . import cells, ranking, stats
from .cells import Cell
from .comparison import (
    BREAKING,
    NothingInCommon,
    comparison_of,
    cores_differ,
    row_of,
    what_it_has,
)
from .evidence import (
    ALPHA,
    ENOUGH,
    Evidence,
    Side,
    across,
    in_blocks,
    planned,
    renamed,
    side_of,
    values_of,
    within_blocks,
)
from .figures import FIGURES, MORE_IS_BETTER
from .rows import judge
from .searches import searches

_FLOOR = "too few trials of the control count under this load"
_BETTER = ("faster", "better", "farther", "mended")
_WORSE = ("slower", "worse", "nearer")


def sessions(
    a: Sequence[Session],
    b: Sequence[Session],
    names: tuple[str, str],
    figures: Sequence[str] = (),
    between: Sequence[Session] = (),
    servers: Collection[str] = (),
) -> Comparison:
    """B over A, for every server under every load that either side planned.

    figures: compared in addition to each load's primary one. between: equal sessions, whose
    spread is used where the sides have fewer than three sessions each. servers: the only
    ones to compare; empty for all. Raises NothingInCommon.
    """
    mine, theirs = side_of("A", a), side_of("B", b)
    if any(session.plan.workload.search for session in (*a, *b)):
        return searches(a, b, names, [(server, server) for server in servers])
    common = set(planned(mine)) & set(planned(theirs))
    if not common:
        nearly = (_absent(theirs, cell) for cell in planned(mine))
        near = next((line for line in nearly if "with" in line), "")
        raise NothingInCommon(
            f"nothing in common: {names[0]} has {what_it_has(a[0])}; "
            f"{names[1]} has {what_it_has(b[0])}" + (f" ({near})" if near else "")
        )
    series = side_of("between", between) if between else None
    unfit = _unfit((*a, *b, *between))
    rows: list[Compared] = []
    found: list[Evidence] = []
    order = dict.fromkeys((*planned(mine), *planned(theirs)))
    order = {cell: None for cell in order if not servers or cell[1] in servers}
    for cell in order:
        if gone := _gone(cell, cell, mine, theirs):
            rows.append(gone)
            continue
        for figure in _wanted(cell[0], figures):
            evidence = across(cell, figure, mine, theirs, series)
            if evidence.a or evidence.b or figure == cell[0].facts.primary:
                found.append(evidence)
    rows += _judged(found, unfit)
    changed = [
        f"a session of {side.name} is {what}"
        for side in (mine, theirs)
        for what, true in (
            ("altered since it was finished", any(each.altered for each in side.sessions)),
            ("mixed: resumed though something had changed", any(s.mixed for s in side.sessions)),
        )
        if true
    ]
    told = (unfit, cores_differ((*a, *b)), *changed)
    return comparison_of(names, _sorted(rows, list(order)), told, (a[0], b[0]))


def servers(session: Session, a: str, b: str, figures: Sequence[str] = ()) -> Comparison:
    """Server B over server A, under every load of one session. Raises NothingInCommon."""
    names = [server.name for server in session.plan.servers]
    if session.plan.workload.search:
        return searches([session], [session], (a, b), [(a, b)])
    side = side_of("A", [session], control=True)
    loads = [load for load in session.plan.workload.loads if {a, b} <= set(names)]
    if not loads or not any(side.trials((load, name)) for load in loads for name in (a, b)):
        raise NothingInCommon(
            f"{a} and {b} have no load in common; the session has {', '.join(names)}"
        )
    unfit = _unfit([session])
    rows: list[Compared] = []
    found: list[Evidence] = []
    for load in loads:
        mine, theirs = (renamed(side, load, name, at) for name, at in ((a, "A"), (b, "B")))
        shown = (load, f"{b} / {a}")
        if gone := _gone(shown, (load, ""), mine, theirs):
            rows.append(gone)
            continue
        for figure in _wanted(load, figures):
            evidence = within_blocks(shown, figure, mine, theirs)
            if evidence.a or evidence.b or figure == load.facts.primary:
                found.append(evidence)
    rows += _judged(in_blocks(found), unfit)
    order = [(load, f"{b} / {a}") for load in loads]
    said = judge(session).warnings
    return comparison_of((a, b), _sorted(rows, order), said, (session, session))


def failed(comparison: Comparison, thresholds: Mapping[str, float]) -> list[Compared]:
    """The rows that are broken, or worse by more than the threshold with their whole interval.

    thresholds: figure → share (0.05: 5 %); "" means each load's primary figure. With any
    threshold, a broken row fails, whatever its figure.
    """
    return [
        row
        for row in comparison.rows
        if (row.verdict == "broken" and thresholds)
        or ((limit := _limit(row, thresholds)) is not None and _beyond(row, limit))
    ]


def untold(comparison: Comparison, thresholds: Mapping[str, float]) -> list[Compared]:
    """The rows that neither fail nor pass: their interval may reach beyond the threshold."""
    beyond = failed(comparison, thresholds)
    return [
        row
        for row in comparison.rows
        if (limit := _limit(row, thresholds)) is not None
        and row not in beyond
        and not _fine(row, limit)
    ]


def _fault(side: Side, cell: Cell) -> tuple[str, str]:
    """("bad", "noisy", or "" when a side's cell has figures that count; the reason in words)."""
    found = side.trials(cell)
    if not found:
        planned = any(cell in cells for cells in side.cells)
        return "bad", f"{side.name} has no trial of this row" if planned else _absent(side, cell)
    last = [m for trials in found for m in {each.trial.block: each for each in trials}.values()]
    wrong = [m for m in last if m.status != "ok"]
    if wrong:
        word = "failed" if any(m.status == "failed" for m in wrong) else "not run"
        said = f"{side.name}: {word} in {len(wrong)} of {len(last)} blocks"
        return "bad", f"{said}: {wrong[0].reason}" if wrong[0].reason else said
    if any(m.accepted for trials in found for m in trials):
        return "", ""
    kinds = {gate.kind for trials in found for m in trials for gate in m.gates}
    said = f"{side.name}: every attempt was gated ({', '.join(sorted(kinds))})"
    # disturbances by the machine leave no figure, but do not show that the server is broken
    return "noisy" if kinds <= DISTURBANCES else "bad", said


def _absent(side: Side, cell: Cell) -> str:
    """That a side did not plan a cell, and how a load that it did plan with this label differs."""
    load, server = cell
    for other, name in planned(side):
        if name == server and (other.label, other.clients) == (load.label, load.clients):
            found, wanted = asdict(other), asdict(load)
            differing = [
                f"{key} {found[key]} instead of {wanted[key]}"
                for key in found
                if found[key] != wanted[key]
            ]
            return f"not in {side.name}, which has it with {', '.join(differing)}"
    return f"not in {side.name}"


def _gone(shown: Cell, key: Cell, mine: Side, theirs: Side) -> Compared | None:
    """The row of a cell in which a side has no figures that count; None when both have some."""
    (a, why_a), (b, why_b) = _fault(mine, key), _fault(theirs, key)
    if not a and not b:
        return None
    word: ComparedVerdict = "cannot be told"
    if a == b == "bad":
        word = "incomparable"
    elif b == "bad":
        word = "broken"
    elif a == "bad" and not b:
        word = "mended"
    figure = key[0].facts.primary
    spreads = [
        cells.spread(value for trials in side.trials(key) for value in values_of(trials, figure))
        for side in (mine, theirs)
    ]
    whys = {"broken": [why_b], "mended": [why_a]}.get(word, [why_a, why_b])
    why = "; ".join(filter(None, whys))
    return row_of(shown, figure, (spreads[0], spreads[1]), None, word, why)


def _unfit(every: Sequence[Session]) -> str:
    """Why these sessions support no verdict at all; "" when they do."""
    if min(len({m.trial.block for m in session.measurements}) for session in every) < ENOUGH:
        return f"fewer than {ENOUGH} blocks"
    if not all(session.plan.control for session in every):
        return "no control was entered in each session, so the noise floor is not known"
    return ""


def _wanted(load: Load, figures: Sequence[str]) -> list[str]:
    named = [figure for figure in figures if figure in FIGURES]
    return list(dict.fromkeys([load.facts.primary, *named]))


def _judged(found: Sequence[Evidence], unfit: str) -> list[Compared]:
    """One row for each. The rows that can be tested are one family, adjusted by Holm's method.

    unfit: why these sessions support no verdict at all; "" when they do.
    """
    rows = {}
    left: dict[int, Evidence] = {}
    for at, each in enumerate(found):
        if word := _by_zeros(each):
            rows[at] = _told(each, None, word, "")
        elif (
            why := each.why or unfit or ("" if each.floor is not None or not each.logs else _FLOOR)
        ):
            rows[at] = _told(each, _ratio(each), "cannot be told", why)
        else:
            left[at] = each
    adjusted = stats.holm([each.p for each in left.values()])
    for (at, each), p in zip(left.items(), adjusted, strict=True):
        rows[at] = _told(each, _ratio(each), *_verdict(each, p, ALPHA / len(left)))
    return [rows[at] for at in sorted(rows)]


def _told(each: Evidence, ratio: Ratio | None, word: ComparedVerdict, why: str) -> Compared:
    spreads = cells.spread(each.a), cells.spread(each.b)
    row = row_of(each.cell, each.figure, spreads, ratio, word, why)
    return replace(row, a_bound=each.bound[0], b_bound=each.bound[1])


def _verdict(each: Evidence, p: float, level: float) -> tuple[ComparedVerdict, str]:
    """The verdict, and a reason where it needs one.

    level: this row's share of ALPHA, at which "same" is tested.
    """
    same = (
        each.logs
        and each.estimate is not None
        and stats.within(each.estimate(1 - 2 * level), ranking.SAME_MARGIN)
    )
    noise = each.floor if each.logs and each.floor is not None else 0.0
    more = MORE_IS_BETTER[each.figure]
    word = stats.verdict(each.interval, p, noise, same, more, ALPHA)
    a, b = each.bound
    if (b and (a or word != "faster")) or (a and word != "slower"):
        sides = " and ".join(name for name, bound in (("A", a), ("B", b)) if bound)
        return (
            "not resolved",
            f"the client was the limit of {sides}; more blocks would not change that",
        )
    if word in ("faster", "slower"):
        return _word(each.figure, word == "faster"), ""
    return word, ""


def _by_zeros(each: Evidence) -> ComparedVerdict | None:
    """The verdict where a side is zero in every block, so that there is no ratio.

    Both sides always zero: same. One side always zero and the other never: a difference.
    None in every other case, and with fewer than ENOUGH blocks.
    """
    if min(len(each.a), len(each.b)) < ENOUGH or (any(each.a) and any(each.b)):
        return None
    if not any(each.a) and not any(each.b):
        return "same"
    other = each.b if any(each.b) else each.a
    if not all(other):
        return None
    rose = (statistics.fmean(other) > 0) == any(each.b)
    return _word(each.figure, rose is MORE_IS_BETTER[each.figure])


def _word(figure: str, better: bool) -> ComparedVerdict:
    """faster or slower for a rate or a time, better or worse for any other figure."""
    if figure.startswith(("messages_per_s", "latency_", "connect_s")):
        return "faster" if better else "slower"
    return "better" if better else "worse"


def _ratio(each: Evidence) -> Ratio | None:
    """B's figure over A's; None when either has no value, or when A's is not above zero."""
    if not each.a or not each.b:
        return None
    if each.logs:
        return cells.ratio_of(each.interval)
    if each.base <= 0:
        return None
    least = 0.0 if min((*each.a, *each.b)) >= 0 else -math.inf
    low, high = (
        max(least, 1 + end / each.base) if math.isfinite(end) else None
        for end in (each.interval.low, each.interval.high)
    )
    return Ratio(1 + each.interval.median / each.base, low, high, each.interval.blocks)


def _limit(row: Compared, thresholds: Mapping[str, float]) -> float | None:
    return thresholds.get(row.figure, thresholds.get("") if row.primary else None)


def _beyond(row: Compared, limit: float) -> bool:
    """Whether the row is claimed to be worse, with its whole interval beyond the limit."""
    if row.verdict not in _WORSE:
        return False
    if row.ratio is None:  # A is zero in every block, B in none
        return True
    if row.figure == BREAKING or MORE_IS_BETTER[row.figure]:
        return row.ratio.high is not None and row.ratio.high < 1 - limit
    return row.ratio.low is not None and row.ratio.low > 1 + limit


def _fine(row: Compared, limit: float) -> bool:
    """Whether the row is shown not to be worse by more than the limit."""
    if row.verdict in _BETTER or (row.verdict == "same" and row.ratio is None):
        return True
    if row.verdict not in ("same", "not resolved", *_WORSE) or row.ratio is None or row.a_bound:
        return False
    if row.figure == BREAKING or MORE_IS_BETTER[row.figure]:
        return row.ratio.low is not None and row.ratio.low >= 1 - limit
    return row.ratio.high is not None and row.ratio.high <= 1 + limit


def _sorted(rows: Sequence[Compared], order: Sequence[Cell]) -> list[Compared]:
    places = {cell: at for at, cell in enumerate(order)}
    return sorted(rows, key=lambda row: places[row.load, row.server])
