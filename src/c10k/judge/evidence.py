"""A figure's values on two sides, their difference, its interval and p. Pure.

compare.py gives the verdicts. A cell is one server under one load. Where every value is above
zero, the logarithms are compared, so that differences are ratios. Otherwise the values
themselves are compared, because a zero is a value and must not be dropped.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from ..model import Load, Measurement, Session
from ..plan.gates import bound_by
from . import cells, stats
from .cells import Cell
from .figures import FIGURES

ALPHA = 0.05
ENOUGH = stats.MIN_BLOCKS  # the fewest blocks, and the fewest sessions per side
ONE = "one session does not show how much sessions differ"

Cells = Mapping[Cell, Sequence[Measurement]]
Group = Sequence[NDArray[np.float64]]  # one side: for each session, one value per block
Estimate = Callable[[float], stats.Interval]  # confidence → interval


class Side(Struct, frozen=True):
    """One side of a comparison: its sessions, and the trials of each session by cell."""

    name: str  # A or B
    sessions: tuple[Session, ...]
    cells: tuple[Cells, ...]

    def trials(self, cell: Cell) -> list[Sequence[Measurement]]:
        """The cell's trials, one sequence for each session that has any."""
        return [cells[cell] for cells in self.cells if cells.get(cell)]


class Evidence(Struct, frozen=True):
    """The values of one figure in one cell on two sides, and what follows from them."""

    cell: Cell
    figure: str
    a: tuple[float, ...]  # one value per block
    b: tuple[float, ...]
    base: float  # mean of A's values, or of their logarithms when logs
    interval: stats.Interval  # of B minus A
    logs: bool = True
    p: float = 1.0
    estimate: Estimate | None = None  # the interval at another confidence
    floor: float | None = None  # the noise floor, a log-ratio; None: not known
    bound: tuple[bool, bool] = (False, False)  # whether the client was the limit, on A and on B
    why: str = ""  # why there is no verdict


def side_of(name: str, sessions: Sequence[Session], control: bool = False) -> Side:
    return Side(name, tuple(sessions), tuple(_cells(session, control) for session in sessions))


def _cells(session: Session, control: bool) -> dict[Cell, list[Measurement]]:
    """The trials by cell, for the plan's loads. control: whether to include the control."""
    plan = session.plan
    return {
        cell: trials
        for cell, trials in cells.by_cell(session).items()
        if cell[0] in plan.workload.loads and (control or cell[1] != plan.control)
    }


def renamed(side: Side, load: Load, server: str, name: str) -> Side:
    """A side with one server of a session under one load. name: A or B."""
    return Side(name, side.sessions, ({(load, ""): side.cells[0][load, server]},))


def planned(side: Side) -> Iterable[Cell]:
    return (cell for cells in side.cells for cell in cells)


def values_of(trials: Sequence[Measurement], figure: str) -> list[float]:
    """The figure of each block's accepted trial, where it is known; zeros are kept."""
    found = cells.by_block(trials, FIGURES[figure]).values()
    return [value for value in found if value is not None and math.isfinite(value)]


def _known_floor(session: Session, load: Load, figure: str) -> float | None:
    found = cells.floor(session, load, figure)
    return found if found is not None and math.isfinite(found) else None


def across(cell: Cell, figure: str, mine: Side, theirs: Side, series: Side | None) -> Evidence:
    """The evidence of two sides that have no blocks in common.

    series: equal sessions that show how much sessions differ; None when there are none.
    """
    sides = [
        [values for trials in side.trials(cell) if (values := values_of(trials, figure))]
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
        return replace(found, why="the sessions of --between lack this row" if series else ONE)
    interval, p = estimate(1 - ALPHA)
    return replace(
        found, interval=interval, p=p, estimate=lambda confidence: estimate(confidence)[0]
    )


def _estimator(
    groups: Sequence[Group],
    means: Sequence[Sequence[float]],
    spread: tuple[float, float] | None,
) -> Callable[[float], tuple[stats.Interval, float]] | None:
    """confidence → (interval of B's mean minus A's, p); None when the spread is not known."""
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


def _spread(series: Side | None, cell: Cell, figure: str, logs: bool) -> tuple[float, float] | None:
    """The variance between sessions, and its degrees of freedom; None when not known."""
    every = [values_of(trials, figure) for trials in series.trials(cell)] if series else []
    known = [values for values in every if values and (not logs or min(values) > 0)]
    if len(known) < ENOUGH:
        return None
    means = [float(_scaled(values, logs).mean()) for values in known]
    return statistics.variance(means), len(means) - 1


def _error_within(group: Group) -> tuple[float, float]:
    """The squared error of a side's mean from the spread within sessions; degrees of freedom.

    The series' spread already contains this error, so it is counted twice. That makes a claim
    rarer, never more frequent, even where the sessions of the series had more blocks.
    """
    error = sum(float(values.var(ddof=1)) / len(values) for values in group)
    return error / len(group) ** 2, sum(len(values) - 1 for values in group)


def within_blocks(cell: Cell, figure: str, mine: Side, theirs: Side) -> Evidence:
    """The evidence of two servers of one session, by block; in_blocks() adds interval and p."""
    key = (cell[0], "")
    both = [cells.by_block(side.trials(key)[0], FIGURES[figure]) for side in (mine, theirs)]
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
        return replace(found, why=found.why or "no block has the figure of both")
    return replace(
        found,
        floor=_known_floor(mine.sessions[0], cell[0], figure),
        bound=(_bound(mine, key, figure), _bound(theirs, key, figure)),
    )


def in_blocks(found: Sequence[Evidence]) -> list[Evidence]:
    """The same with intervals and p; which test gives p depends on the number of rows."""
    level = ALPHA / max(1, sum(not each.why for each in found))
    return [each if each.why else _paired(each, level) for each in found]


def _paired(each: Evidence, level: float) -> Evidence:
    """Adds interval and p as stats.compare does: Wilcoxon's p where the blocks can reach level."""
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
        estimate=lambda confidence: stats.median_interval(differences, confidence),
        why=short,
    )


def _scaled(values: Sequence[float], logs: bool) -> NDArray[np.float64]:
    known = np.asarray(values, dtype=np.float64)
    return np.log(known) if logs else known


def _unknown(cell: Cell, figure: str, a: Sequence[float], b: Sequence[float]) -> Evidence:
    """The values of both sides, without an estimate; `why` names the sides without any."""
    lacking = [name for name, values in (("A", a), ("B", b)) if not values]
    return Evidence(
        cell=cell,
        figure=figure,
        a=tuple(a),
        b=tuple(b),
        base=0.0,
        interval=stats.Interval(0.0, -math.inf, math.inf, 0),
        logs=min((*a, *b), default=0.0) > 0,
        why=f"{' and '.join(lacking)}: the figure is not known" if lacking else "",
    )


def _floor(mine: Side, theirs: Side, load: Load, figure: str) -> float | None:
    """The greater of the sides' noise floors; a side's is the median over its sessions."""
    sides = [
        [
            known
            for session in side.sessions
            if (known := _known_floor(session, load, figure)) is not None
        ]
        for side in (mine, theirs)
    ]
    return max(map(statistics.median, sides)) if all(sides) else None


def _bound(side: Side, cell: Cell, figure: str) -> bool:
    """Whether the client, not the server, set a side's figure."""
    if not figure.startswith(("messages_per_s", "latency_")):
        return False
    return any(bound_by(m) for trials in side.trials(cell) for m in cells.accepted(trials))
