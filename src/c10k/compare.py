"""Two sides, row by row: ratios with intervals, and a verdict, or why there is none. Pure.

A side is one session, or several, or one server of a session. A cell is a server under a
load; each that either side planned gets a row. A side without figures in a cell is no gap
in a table: what was served before and is not now is broken.

What may be claimed depends on what repeats. Two servers of one session meet in each of its
blocks, and what the machine does falls on both: they are compared within the blocks. Two
sessions have no block in common, and blocks of one session say nothing of how far the next
session would be from it. There the session is what repeats: with three or more a side each
gives one value; with fewer, a series of equal sessions must say how far sessions lie apart.
Without that, or without a control, or with fewer than three blocks, it cannot be told.
"""

import math
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from . import judge, stats
from .figures import FIGURES, MORE_IS_BETTER, PRIMARY
from .gates import bound_by
from .model import (
    BreakingPoint,
    Compared,
    ComparedVerdict,
    Comparison,
    Load,
    Measurement,
    Ratio,
    Session,
    Spread,
)

ALPHA = 0.05
ENOUGH = stats.MIN_BLOCKS  # blocks, and sessions a side
BREAKING = "breaking_point"  # the figure of a search

# Gates that accuse the machine. What they leave without figures was not shown to be broken.
_MACHINES = {"host", "steal", "others", "engine", "reading"}
_BETTER = ("faster", "better", "farther", "mended")
_WORSE = ("slower", "worse", "nearer")
_FLOOR = "too few trials of the control count under this load"
_ONE = "one session says nothing of how far the next would be from it"

Cell = tuple[Load, str]
Cells = Mapping[Cell, Sequence[Measurement]]
Group = Sequence[NDArray[np.float64]]  # of a side: each session's values, one a block


class NothingInCommon(Exception):
    """Two sides that share no server under any load; the message says what each has."""


class _Side(Struct, frozen=True):
    """What is compared with another: for each of its sessions, what it planned and what came."""

    name: str  # A or B
    sessions: tuple[Session, ...]
    cells: tuple[Cells, ...]

    def trials(self, cell: Cell) -> list[Sequence[Measurement]]:
        """Of each session that has any."""
        return [cells[cell] for cells in self.cells if cells.get(cell)]


class _Evidence(Struct, frozen=True):
    """What two sides have of one figure in one cell."""

    cell: Cell
    figure: str
    a: tuple[float, ...]  # a value a block
    b: tuple[float, ...]
    base: float  # A's mean: of logarithms, or of what is not above zero as it is
    interval: stats.Interval  # B's less A's
    logs: bool = True
    p: float = 1.0
    same: bool = False  # shown to be within the margin
    floor: float | None = None  # log-ratio; None: not known
    bound: tuple[bool, bool] = (False, False)  # the client was the limit
    why: str = ""  # why nothing can be told


def sessions(
    a: Sequence[Session],
    b: Sequence[Session],
    names: tuple[str, str],
    figures: Sequence[str] = (),
    between: Sequence[Session] = (),
    servers: Collection[str] = (),
) -> Comparison:
    """B over A, for every server under every load that either planned.

    figures: besides each load's primary one. between: equal sessions, whose spread stands
    for that of the two sides' where these have fewer than three each. servers: only these.
    Raises NothingInCommon.
    """
    mine, theirs = _side("A", a), _side("B", b)
    if any(session.plan.workload.search for session in (*a, *b)):
        return _searches(a, b, names, [(server, server) for server in servers])
    common = _known(mine) & _known(theirs)
    if not common:
        nearly = (_absent(theirs, cell) for cell in _planned(mine))
        near = next((line for line in nearly if "with" in line), "")
        raise NothingInCommon(
            f"nothing in common: {names[0]} has {_held(a[0])}; {names[1]} has {_held(b[0])}"
            + (f" ({near})" if near else "")
        )
    series = _side("between", between) if between else None
    unfit = _unfit((*a, *b, *between))
    rows: list[Compared] = []
    found: list[_Evidence] = []
    order = dict.fromkeys((*_planned(mine), *_planned(theirs)))
    order = {cell: None for cell in order if not servers or cell[1] in servers}
    for cell in order:
        if gone := _gone(cell, cell, mine, theirs):
            rows.append(gone)
            continue
        for figure in _wanted(cell[0], figures):
            evidence = _across(cell, figure, mine, theirs, series)
            if evidence.a or evidence.b or figure == PRIMARY[cell[0].kind]:
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
    return _comparison(names, _sorted(rows, list(order)), (unfit, *changed), (a[0], b[0]))


def servers(session: Session, a: str, b: str, figures: Sequence[str] = ()) -> Comparison:
    """Server B over server A, under every load of one session. Raises NothingInCommon."""
    names = [server.name for server in session.plan.servers]
    if session.plan.workload.search:
        return _searches([session], [session], (a, b), [(a, b)])
    side = _side("A", [session], control=True)
    loads = [load for load in session.plan.workload.loads if {a, b} <= set(names)]
    if not loads or not any(side.trials((load, name)) for load in loads for name in (a, b)):
        raise NothingInCommon(
            f"{a} and {b} met no load in common; the session has {', '.join(names)}"
        )
    unfit = _unfit([session])
    rows: list[Compared] = []
    found: list[_Evidence] = []
    for load in loads:
        mine, theirs = (_renamed(side, load, name, at) for name, at in ((a, "A"), (b, "B")))
        shown = (load, f"{b} / {a}")
        if gone := _gone(shown, (load, ""), mine, theirs):
            rows.append(gone)
            continue
        for figure in _wanted(load, figures):
            evidence = _within(shown, figure, mine, theirs)
            if evidence.a or evidence.b or figure == PRIMARY[load.kind]:
                found.append(evidence)
    rows += _judged(_in_blocks(found), unfit)
    order = [(load, f"{b} / {a}") for load in loads]
    said = judge.judge(session).warnings
    return _comparison((a, b), _sorted(rows, order), said, (session, session))


def failed(comparison: Comparison, thresholds: Mapping[str, float]) -> list[Compared]:
    """The rows that are broken, or claimed to be worse with their whole interval beyond it.

    thresholds: figure → share (0.05: 5 %); "" stands for each load's primary figure. A
    broken row fails whatever figure is asked for.
    """
    return [
        row
        for row in comparison.rows
        if (row.verdict == "broken" and thresholds)
        or ((limit := _limit(row, thresholds)) is not None and _beyond(row, limit))
    ]


def untold(comparison: Comparison, thresholds: Mapping[str, float]) -> list[Compared]:
    """The rows that are neither: what they leave open reaches beyond their threshold."""
    beyond = failed(comparison, thresholds)
    return [
        row
        for row in comparison.rows
        if (limit := _limit(row, thresholds)) is not None
        and row not in beyond
        and not _fine(row, limit)
    ]


def blocks_for(comparisons: int) -> int:
    """How many blocks it takes for one of so many comparisons to be claimed at all.

    Wilcoxon's p is never below 2^(1-n), and Holm asks the first for ALPHA / comparisons.
    """
    return 1 + math.ceil(math.log2(max(1, comparisons) / ALPHA))


# -- what each side has --------------------------------------------------------------------


def _side(name: str, sessions: Sequence[Session], control: bool = False) -> _Side:
    return _Side(name, tuple(sessions), tuple(_cells(session, control) for session in sessions))


def _cells(session: Session, control: bool) -> dict[Cell, list[Measurement]]:
    """The trials of each server under each load, in the plan's order."""
    plan = session.plan
    cells: dict[Cell, list[Measurement]] = {
        (load, server.name): []
        for load in plan.workload.loads
        for server in plan.servers
        if control or server.name != plan.control
    }
    for measurement in session.measurements:
        trial = measurement.trial
        if (trial.load, trial.server) in cells:
            cells[trial.load, trial.server].append(measurement)
    return cells


def _renamed(side: _Side, load: Load, server: str, name: str) -> _Side:
    """One server of a session as a side of its own, under the name that its row has."""
    return _Side(name, side.sessions, ({(load, ""): side.cells[0][load, server]},))


def _planned(side: _Side) -> Iterable[Cell]:
    return (cell for cells in side.cells for cell in cells)


def _known(side: _Side) -> set[Cell]:
    return set(_planned(side))


def _fault(side: _Side, cell: Cell) -> tuple[str, str]:
    """What is wrong with a side's cell ("bad", "noisy", or "" when its figures stand), and why."""
    found = side.trials(cell)
    if not found:
        planned = any(cell in cells for cells in side.cells)
        return "bad", f"{side.name} has no trial of it" if planned else _absent(side, cell)
    last = [m for trials in found for m in {each.trial.block: each for each in trials}.values()]
    wrong = [m for m in last if m.status != "ok"]
    if wrong:
        word = "failed" if any(m.status == "failed" for m in wrong) else "not run"
        said = f"{side.name}: {word} in {len(wrong)} of {len(last)} blocks"
        return "bad", f"{said}: {wrong[0].reason}" if wrong[0].reason else said
    if any(m.accepted for trials in found for m in trials):
        return "", ""
    kinds = {gate.partition(":")[0] for trials in found for m in trials for gate in m.gates}
    said = f"{side.name}: every attempt was gated ({', '.join(sorted(kinds))})"
    return "noisy" if kinds <= _MACHINES else "bad", said


def _absent(side: _Side, cell: Cell) -> str:
    """That a side did not plan a cell; and what is not alike where it planned nearly the same."""
    load, server = cell
    for other, name in _planned(side):
        if name == server and (other.label, other.clients) == (load.label, load.clients):
            found, wanted = asdict(other), asdict(load)
            differing = [
                f"{key} {found[key]} instead of {wanted[key]}"
                for key in found
                if found[key] != wanted[key]
            ]
            return f"not in {side.name}, which has it with {', '.join(differing)}"
    return f"not in {side.name}"


def _gone(shown: Cell, key: Cell, mine: _Side, theirs: _Side) -> Compared | None:
    """The row of a cell in which a side has no figures that stand; None when both have."""
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
    figure = PRIMARY[key[0].kind]
    spreads = [
        judge.spread(value for trials in side.trials(key) for value in _values(trials, figure))
        for side in (mine, theirs)
    ]
    why = "; ".join(filter(None, (why_a, why_b)))
    return _row(shown, figure, (spreads[0], spreads[1]), None, word, why)


def _unfit(every: Sequence[Session]) -> str:
    """Why nothing can be told of these sessions; "" when something can."""
    if min(len({m.trial.block for m in session.measurements}) for session in every) < ENOUGH:
        return f"fewer than {ENOUGH} blocks"
    if not all(session.plan.control for session in every):
        return "no control was entered in each session, so the noise floor is not known"
    return ""


def _wanted(load: Load, figures: Sequence[str]) -> list[str]:
    named = [figure for figure in figures if figure in FIGURES]
    return list(dict.fromkeys([PRIMARY[load.kind], *named]))


def _values(trials: Sequence[Measurement], figure: str) -> list[float]:
    """The figure of each block's accepted trial, where it is known; zeros are values."""
    found = judge.by_block(trials, FIGURES[figure]).values()
    return [value for value in found if value is not None and math.isfinite(value)]


# -- evidence ------------------------------------------------------------------------------


def floor(session: Session, load: Load, figure: str) -> float | None:
    """The reference against itself in this figure: the greatest log-ratio it may show.

    None: there is no control, or too few of its blocks count.
    """
    cells, plan = _cells(session, control=True), session.plan
    both = [cells.get((load, name), []) for name in (plan.control, plan.workload.reference)]
    control, reference = (judge.by_block(trials, FIGURES[figure]) for trials in both)
    ratios = stats.log_ratios(control, reference)
    return stats.noise_floor(stats.median_interval(ratios)) if len(ratios) >= ENOUGH else None


def _across(cell: Cell, figure: str, mine: _Side, theirs: _Side, series: _Side | None) -> _Evidence:
    """Of two sides that have no blocks in common."""
    sides = [
        [values for trials in side.trials(cell) if (values := _values(trials, figure))]
        for side in (mine, theirs)
    ]
    found = _unknown(cell, figure, *(list(chain(*groups)) for groups in sides))
    if found.why:
        return found
    groups = [[_scaled(values, found.logs) for values in side] for side in sides]
    means = [[float(values.mean()) for values in group] for group in groups]
    before, after = (statistics.fmean(each) for each in means)
    units = min(map(len, means))
    found = replace(
        found,
        base=before,
        interval=stats.Interval(after - before, -math.inf, math.inf, units),
        floor=_floor(mine, theirs, cell[0], figure),
        bound=(_bound(mine, cell, figure), _bound(theirs, cell, figure)),
    )
    if units < ENOUGH and min(len(values) for group in groups for values in group) < ENOUGH:
        return replace(found, why=f"fewer than {ENOUGH} blocks count")
    estimate = _estimator(groups, means, _spread(series, cell, figure, found.logs))
    if estimate is None:
        return replace(found, why="the series of --between lacks it" if series else _ONE)
    interval, p = estimate(1 - ALPHA)
    same = found.logs and stats.within(estimate(1 - 2 * ALPHA)[0], judge.SAME_MARGIN)
    return replace(found, interval=interval, p=p, same=same)


def _estimator(
    groups: Sequence[Group],
    means: Sequence[Sequence[float]],
    spread: tuple[float, float] | None,
) -> Callable[[float], tuple[stats.Interval, float]] | None:
    """Confidence → the interval of B's mean less A's and its p; None where nothing tells."""
    units = min(map(len, means))
    if units >= ENOUGH:
        return lambda confidence: stats.welch(means[0], means[1], confidence)
    if spread is None:
        return None
    variance, freedom = spread
    parts = [(variance * sum(1 / len(group) for group in groups), freedom)]
    parts += map(_error_within, groups)
    difference = statistics.fmean(means[1]) - statistics.fmean(means[0])
    return lambda confidence: stats.contrast(difference, parts, units, confidence)


def _spread(
    series: _Side | None, cell: Cell, figure: str, logs: bool
) -> tuple[float, float] | None:
    """The variance from session to session, and its degrees of freedom; None: not known."""
    every = [_values(trials, figure) for trials in series.trials(cell)] if series else []
    known = [values for values in every if values and (not logs or min(values) > 0)]
    if len(known) < ENOUGH:
        return None
    means = [float(_scaled(values, logs).mean()) for values in known]
    return statistics.variance(means), len(means) - 1


def _error_within(group: Group) -> tuple[float, float]:
    """The squared error that the blocks of a side's sessions leave, and its freedom.

    The series' spread holds the like already: counted twice, it errs towards silence, also
    where its sessions had more blocks than these.
    """
    error = sum(float(values.var(ddof=1)) / len(values) for values in group)
    return error / len(group) ** 2, sum(len(values) - 1 for values in group)


def _within(cell: Cell, figure: str, mine: _Side, theirs: _Side) -> _Evidence:
    """Of two servers of one session, block by block; the interval comes with all of them."""
    key = (cell[0], "")
    both = [judge.by_block(side.trials(key)[0], FIGURES[figure]) for side in (mine, theirs)]
    values = [
        {
            block: value
            for block, value in found.items()
            if value is not None and math.isfinite(value)
        }
        for found in both
    ]
    common = [block for block in values[0] if block in values[1]]
    if common:
        values = [{block: found[block] for block in common} for found in values]
    found = _unknown(cell, figure, *(list(known.values()) for known in values))
    if not common:
        return replace(found, why=found.why or "known of both in no block")
    return replace(
        found,
        floor=floor(mine.sessions[0], cell[0], figure),
        bound=(_bound(mine, key, figure), _bound(theirs, key, figure)),
    )


def _in_blocks(found: Sequence[_Evidence]) -> list[_Evidence]:
    """With intervals and p, for which it matters how many rows there are."""
    level = ALPHA / max(1, sum(not each.why for each in found))
    return [each if each.why else _paired(each, level) for each in found]


def _paired(each: _Evidence, level: float) -> _Evidence:
    """By the rule of stats.compare: Wilcoxon's p where the blocks can reach the level."""
    old, new = _scaled(each.a, each.logs), _scaled(each.b, each.logs)
    differences = (new - old).tolist()
    blocks = len(differences)
    test = stats.wilcoxon if 2.0 ** (1 - blocks) <= level else stats.t_test
    short = f"fewer than {ENOUGH} blocks count" if blocks < ENOUGH else ""
    return replace(
        each,
        base=float(old.mean()),
        interval=stats.median_interval(differences, 1 - ALPHA),
        p=test(differences),
        same=each.logs and stats.equivalent(differences, judge.SAME_MARGIN, ALPHA),
        why=short,
    )


def _scaled(values: Sequence[float], logs: bool) -> NDArray[np.float64]:
    known = np.asarray(values, dtype=np.float64)
    return np.log(known) if logs else known


def _unknown(cell: Cell, figure: str, a: Sequence[float], b: Sequence[float]) -> _Evidence:
    """The values, before anything is estimated of them."""
    lacking = [name for name, values in (("A", a), ("B", b)) if not values]
    return _Evidence(
        cell=cell,
        figure=figure,
        a=tuple(a),
        b=tuple(b),
        base=0.0,
        interval=stats.Interval(0.0, -math.inf, math.inf, 0),
        logs=min((*a, *b), default=0.0) > 0,
        why=f"{' and '.join(lacking)}: the figure is not known" if lacking else "",
    )


def _floor(mine: _Side, theirs: _Side, load: Load, figure: str) -> float | None:
    """The greater of the two sides' noise floors, a side's the median of its sessions'."""
    sides = [
        [known for session in side.sessions if (known := floor(session, load, figure)) is not None]
        for side in (mine, theirs)
    ]
    return max(map(statistics.median, sides)) if all(sides) else None


def _bound(side: _Side, cell: Cell, figure: str) -> bool:
    """Whether the client, not the server, set a side's figure."""
    if not figure.startswith(("messages_per_s", "latency_")):
        return False
    return any(bound_by(m) for trials in side.trials(cell) for m in judge.accepted(trials))


# -- verdicts ------------------------------------------------------------------------------


def _judged(found: Sequence[_Evidence], unfit: str) -> list[Compared]:
    """A row each. Those that can be told are one family, for which Holm adjusts.

    unfit: why nothing can be told of these sessions; "" when something can.
    """
    rows = {}
    left: dict[int, _Evidence] = {}
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
        rows[at] = _told(each, _ratio(each), *_verdict(each, p))
    return [rows[at] for at in sorted(rows)]


def _told(each: _Evidence, ratio: Ratio | None, word: ComparedVerdict, why: str) -> Compared:
    spreads = judge.spread(each.a), judge.spread(each.b)
    row = _row(each.cell, each.figure, spreads, ratio, word, why)
    return replace(row, a_bound=each.bound[0], b_bound=each.bound[1])


def _verdict(each: _Evidence, p: float) -> tuple[ComparedVerdict, str]:
    """The word, and the reason where it needs one."""
    noise = each.floor if each.logs and each.floor is not None else 0.0
    more = MORE_IS_BETTER[each.figure]
    word = stats.verdict(each.interval, p, noise, each.same, more, ALPHA)
    a, b = each.bound
    if (b and (a or word != "faster")) or (a and word != "slower"):
        sides = " and ".join(name for name, bound in (("A", a), ("B", b)) if bound)
        return "not resolved", f"the client was the limit of {sides}"
    if word in ("faster", "slower"):
        return _word(each.figure, word == "faster"), ""
    return word, ""


def _by_zeros(each: _Evidence) -> ComparedVerdict | None:
    """Where one side is zero in every block no ratio is, and none is needed.

    Zero in every block of one side and in none of the other is a difference in kind.
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
    """Of a rate or a time: faster, slower; of anything else: better, worse."""
    if figure.startswith(("messages_per_s", "latency_", "connect_s")):
        return "faster" if better else "slower"
    return "better" if better else "worse"


def _ratio(each: _Evidence) -> Ratio | None:
    """B's over A's; None where A's is not above zero."""
    if not each.a or not each.b:
        return None
    if each.logs:
        return judge.ratio_of(each.interval)
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
    """Claimed to be worse, and by more than the limit with the whole interval."""
    if row.verdict not in _WORSE:
        return False
    if row.ratio is None:  # from nothing to something
        return True
    if row.figure == BREAKING or MORE_IS_BETTER[row.figure]:
        return row.ratio.high is not None and row.ratio.high < 1 - limit
    return row.ratio.low is not None and row.ratio.low > 1 + limit


def _fine(row: Compared, limit: float) -> bool:
    """Shown not to be worse by more than the limit."""
    if row.verdict in _BETTER or (row.verdict == "same" and row.ratio is None):
        return True
    if row.verdict not in ("same", "not resolved", *_WORSE) or row.ratio is None or row.a_bound:
        return False
    if row.figure == BREAKING or MORE_IS_BETTER[row.figure]:
        return row.ratio.low is not None and row.ratio.low >= 1 - limit
    return row.ratio.high is not None and row.ratio.high <= 1 + limit


def _row(
    cell: Cell,
    figure: str,
    spreads: tuple[Spread | None, Spread | None],
    ratio: Ratio | None,
    verdict: ComparedVerdict,
    reason: str = "",
) -> Compared:
    load, server = cell
    return Compared(
        server=server,
        load=load.label,
        clients=load.clients,
        figure=figure,
        primary=figure in (PRIMARY[load.kind], BREAKING),
        a=spreads[0],
        b=spreads[1],
        ratio=ratio,
        verdict=verdict,
        reason=reason,
    )


def _sorted(rows: Sequence[Compared], order: Sequence[Cell]) -> list[Compared]:
    places = {(load.label, load.clients, server): at for at, (load, server) in enumerate(order)}
    return sorted(rows, key=lambda row: places[row.load, row.clients, row.server])


# -- searches ------------------------------------------------------------------------------


def _searches(
    a: Sequence[Session],
    b: Sequence[Session],
    names: tuple[str, str],
    only: Sequence[tuple[str, str]] = (),
) -> Comparison:
    """How far each server goes on either side. only: these pairs, not each with itself."""
    levels = {
        (session.plan.workload.search and session.plan.workload.search.p99_ms,
         replace(session.plan.workload.loads[0], clients=1))
        for session in (*a, *b)
    }  # fmt: skip
    if len(levels) > 1:
        raise NothingInCommon("nothing in common: they do not search for the same service level")
    points = [[{p.server: p for p in judge.judge(s).breaking} for s in side] for side in (a, b)]
    planned = [[server.name for s in side for server in s.plan.servers] for side in (a, b)]
    pairs = only or [(name, name) for name in dict.fromkeys(chain(*planned))]
    known = [pair for pair in pairs if pair[0] in planned[0] and pair[1] in planned[1]]
    if not known:
        raise NothingInCommon(
            f"nothing in common: {names[0]} has {_held(a[0])}; {names[1]} has {_held(b[0])}"
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
    said = () if min(len(a), len(b)) >= ENOUGH else ("one search says little of the next",)
    return _comparison(names, rows, said, (a[0], b[0]))


def _farther(
    cell: Cell, a: Sequence[BreakingPoint], b: Sequence[BreakingPoint], close: float
) -> Compared:
    """By what held and what failed, of several searches the least and the greatest."""
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
        return _row(cell, BREAKING, both, None, word, why)
    (old, new), (old_fails, new_fails) = reached, failing
    ratio = Ratio(
        new / old,
        new / old_fails if old_fails else None,
        new_fails / old if new_fails else None,
        min(len(a), len(b)),
    )
    if not old_fails and not new_fails:
        return _row(cell, BREAKING, both, None, "same", "both hold the most that was tried")
    verdict: ComparedVerdict = "not resolved"
    if old_fails and new > old_fails * (1 + close):
        verdict = "farther"
    elif new_fails and old > new_fails * (1 + close):
        verdict = "nearer"
    return _row(cell, BREAKING, both, ratio, verdict)


def _fails(points: Sequence[BreakingPoint]) -> int | None:
    """The greatest count at which one of them failed; None when one of them did not."""
    known = [point.fails for point in points if point.fails is not None]
    return max(known) if known and len(known) == len(points) else None


# -- words ---------------------------------------------------------------------------------


def _comparison(
    names: tuple[str, str],
    rows: Sequence[Compared],
    said: Sequence[str],
    firsts: tuple[Session, Session],
) -> Comparison:
    warnings = [line for line in said if line]
    if any(row.reason == _ONE for row in rows):
        warnings.append(_ONE)
    first = next((row for row in rows if row.verdict == "cannot be told"), rows[0])
    return Comparison(
        names[0], names[1], tuple(rows), tuple(warnings), _advice(first, firsts, len(rows))
    )


def _advice(row: Compared, firsts: tuple[Session, Session], rows: int) -> str:
    """The command that would tell what these sessions do not: both in one, by turns."""
    workload = firsts[0].plan.workload.name
    new, slash, old = row.server.partition(" / ")
    if slash:
        had = len({m.trial.block for m in firsts[0].measurements})
        blocks = max(blocks_for(rows), 2 * had if firsts[0].plan.control else 0)
        return f"c10k race {old} {new} {workload} --blocks {blocks}"
    on = [session.runtimes.get(row.server) for session in firsts]
    versions = [each.versions if each else {} for each in on]
    changed = [
        name for name in versions[0] if versions[1].get(name) not in (None, versions[0][name])
    ]
    if changed and "@" not in row.server:
        pair = (f"{row.server}@{changed[0]}=={each[changed[0]]}" for each in versions)
        return f"c10k race {' '.join(pair)} {workload}"
    return f"c10k race OLD NEW {workload}, with two files or versions of {row.server}"


def _held(session: Session) -> str:
    labels = dict.fromkeys(load.label for load in session.plan.workload.loads)
    names = ", ".join(server.name for server in session.plan.servers)
    return f"{names} under {', '.join(labels)}"
