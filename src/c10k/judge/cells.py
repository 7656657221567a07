"""A server under a load, over the blocks: what of it stands, and its figures. Pure."""

import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from ..model import Load, Measurement, Ratio, Session, Spread, Status
from . import stats
from .figures import FIGURES, FigureOf

Cell = tuple[Load, str]  # a server's name, under a load


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, least and greatest of the values that are known."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def by_cell(session: Session) -> dict[Cell, list[Measurement]]:
    """The trials of each server under each load: those planned first, in the plan's order.

    A cell that was planned and has no trial is there, and empty. A search's loads are not
    planned: they follow in the order in which they were tried.
    """
    plan = session.plan
    found: dict[Cell, list[Measurement]] = {
        (load, server.name): [] for load in plan.workload.loads for server in plan.servers
    }
    for measurement in session.measurements:
        trial = measurement.trial
        found.setdefault((trial.load, trial.server), []).append(measurement)
    return found


def accepted(trials: Sequence[Measurement]) -> list[Measurement]:
    """The trials whose figures stand: well-ended and not gated."""
    return [trial for trial in trials if trial.accepted]


def last_attempts(trials: Sequence[Measurement]) -> list[Measurement]:
    """Of each block, its last attempt."""
    return list({trial.trial.block: trial for trial in trials}.values())


def row_status(trials: Iterable[Measurement]) -> Status:
    """ok when every block was; not run when none could be; else failed."""
    statuses = {trial.status for trial in trials}
    if statuses == {"ok"}:
        return "ok"
    return "not run" if statuses == {"not run"} else "failed"


def floor(session: Session, load: Load, figure: str) -> float | None:
    """What the control shows of a figure against itself under a load: nothing smaller is claimed.

    A log-ratio (0.05: some 5 %), the farther end of the interval, infinite below 3 blocks. None
    where it is not known: no control, none that shares a good block with the reference, or
    either failed.
    """
    names = (session.plan.workload.reference, session.plan.control)
    cells = by_cell(session)
    both = [cells.get((load, name), []) for name in names]
    if any(row_status(last_attempts(trials)) != "ok" for trials in both):
        return None
    reference, control = (by_block(trials, FIGURES[figure]) for trials in both)
    itself = stats.log_ratios(control, reference)
    return stats.noise_floor(stats.median_interval(itself)) if itself else None


def by_block(trials: Sequence[Measurement], figure: FigureOf) -> dict[int, float | None]:
    """The figure of each block's accepted trial."""
    return {trial.trial.block: figure(trial) for trial in accepted(trials)}


def ratio_of(interval: stats.Interval) -> Ratio:
    """Of an interval of log-ratios; a median of 0 or inf: one of the two figures was 0."""
    low, high = stats.undone(interval.low), stats.undone(interval.high)
    with np.errstate(over="ignore"):
        return Ratio(float(np.exp(interval.median)), low, high, interval.blocks)
