"""The trials of one server under one load, over the blocks, and their figures. Pure."""

import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from ..model import Load, Measurement, Ratio, Session, Spread, Status
from . import stats
from .figures import FIGURES, FigureOf

Cell = tuple[Load, str]  # (load, server's name)


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, least and greatest of the values that are known."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def spread_of_all(values: Iterable[float | None]) -> Spread | None:
    """The same, but None where any value is not known: the others may be the lucky ones."""
    found = list(values)
    return None if None in found else spread(found)


def by_cell(session: Session) -> dict[Cell, list[Measurement]]:
    """The trials of each server under each load: those planned first, in the plan's order.

    A planned cell without a trial has an empty list. A search's loads are not planned: they
    follow in the order in which they were tried.
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
    """The trials whose figures count: those that ended well and were not gated."""
    return [trial for trial in trials if trial.accepted]


def last_attempts(trials: Sequence[Measurement]) -> list[Measurement]:
    """The last attempt of each block."""
    return list({trial.trial.block: trial for trial in trials}.values())


def row_status(trials: Iterable[Measurement]) -> Status:
    """ok when every block was ok, not run when no block could run, else failed."""
    statuses = {trial.status for trial in trials}
    if statuses == {"ok"}:
        return "ok"
    return "not run" if statuses == {"not run"} else "failed"


def floor(session: Session, load: Load, figure: str) -> float | None:
    """The noise floor of a figure under a load: no smaller difference is claimed.

    It is the larger absolute end of the interval of control over reference, as a log-ratio
    (0.05: about 5 %), and infinite below 3 blocks. None when there is no control, when it
    shares no good block with the reference, or when either failed.
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
    """The ratio from an interval of log-ratios; its median is 0 or inf where a figure was 0."""
    low, high = stats.exp_or_none(interval.low), stats.exp_or_none(interval.high)
    with np.errstate(over="ignore"):
        return Ratio(float(np.exp(interval.median)), low, high, interval.blocks)
