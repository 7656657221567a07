"""Two sessions, or two servers of one, row by row: ratios with intervals, verdicts. Pure.

Servers of one session are compared within each block, as the judge does. Two sessions have
no blocks in common, so their trials are two independent samples: the ratio is that of their
geometric means, its interval Welch's on the logarithms. Nothing within the greater of the
two sessions' noise floors is claimed.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from . import judge, stats
from .figures import FIGURES, MORE_IS_BETTER, PRIMARY
from .model import Compared, Comparison, Load, Measurement, Session, Spread

ALPHA = 0.05

Cells = Mapping[tuple[Load, str], Sequence[Measurement]]


class NothingInCommon(Exception):
    """Two sessions that share no server under any load; the message says what each has."""


def sessions(
    a: Session, b: Session, names: tuple[str, str], figures: Sequence[str] = ()
) -> Comparison:
    """B over A, for every server under every load that both have.

    figures: besides each load's primary one. Raises NothingInCommon.
    """
    mine, theirs = _cells(a), _cells(b)
    common = [cell for cell in mine if cell in theirs]
    if not common:
        raise NothingInCommon(
            f"nothing in common: {names[0]} has {_held(a)}; {names[1]} has {_held(b)}"
        )
    samples = {
        (load, server, figure): (
            _logs(mine[load, server], figure),
            _logs(theirs[load, server], figure),
        )
        for load, server in common
        for figure in _wanted(load, figures)
    }
    known = {key: (old, new) for key, (old, new) in samples.items() if old and new}
    found = {key: stats.welch(*both) for key, both in known.items()}
    adjusted = dict(zip(found, stats.holm([p for _, p in found.values()]), strict=True))
    floors = _noise(a), _noise(b)
    rows = []
    for (load, server, figure), (interval, _) in found.items():
        old, new = known[load, server, figure]
        same = stats.within(stats.welch(old, new, 1 - 2 * ALPHA)[0], judge.SAME_MARGIN)
        verdict = stats.verdict(
            interval,
            adjusted[load, server, figure],
            max(floor.get(load, 0.0) for floor in floors),
            same,
            MORE_IS_BETTER[figure],
            ALPHA,
        )
        rows.append(_row(server, load, figure, (old, new), interval, verdict))
    return Comparison(
        names[0], names[1], tuple(rows), (*_cautions(a, b), *_missing(names, mine, theirs))
    )


def servers(session: Session, a: str, b: str, figures: Sequence[str] = ()) -> Comparison:
    """Server B over server A, under every load of one session. Raises NothingInCommon."""
    cells, noise = _cells(session), _noise(session)
    loads = [load for load, server in cells if server == a and (load, b) in cells]
    if not loads:
        known = ", ".join(server.name for server in session.plan.servers)
        raise NothingInCommon(f"{a} and {b} met no load in common; the session has {known}")
    rows = []
    for load in loads:
        for figure in _wanted(load, figures):
            by_block = [judge.by_block(cells[load, name], FIGURES[figure]) for name in (a, b)]
            judged = stats.compare(
                {figure: stats.log_ratios(by_block[1], by_block[0])},
                noise=noise.get(load, 0.0),
                margin=judge.SAME_MARGIN,
                more_is_better=MORE_IS_BETTER[figure],
                alpha=ALPHA / len(loads),  # Bonferroni: the loads are one family
            )
            both = (_logs(cells[load, a], figure), _logs(cells[load, b], figure))
            for one in judged.values():
                rows.append(_row(f"{b} / {a}", load, figure, both, one.interval, one.verdict))
    return Comparison(a, b, tuple(rows), _cautions(session))


def beyond(comparison: Comparison, thresholds: Mapping[str, float]) -> list[Compared]:
    """The rows that are worse by more than their threshold, with their whole interval.

    thresholds: figure → share (0.05: 5 %); "" stands for each load's primary figure.
    """
    found = []
    for row in comparison.rows:
        limit = thresholds.get(row.figure, thresholds.get("") if row.primary else None)
        if limit is None or row.ratio is None or row.ratio.low is None or row.ratio.high is None:
            continue
        worse = MORE_IS_BETTER[row.figure]
        if row.ratio.high < 1 - limit if worse else row.ratio.low > 1 + limit:
            found.append(row)
    return found


def _cells(session: Session) -> dict[tuple[Load, str], list[Measurement]]:
    """The trials of each server under each load in the plan's order, the control's left out."""
    plan = session.plan
    cells: dict[tuple[Load, str], list[Measurement]] = {
        (load, server.name): []
        for load in plan.workload.loads
        for server in plan.servers
        if server.name != plan.control
    }
    for measurement in session.measurements:
        trial = measurement.trial
        if (trial.load, trial.server) in cells:
            cells[trial.load, trial.server].append(measurement)
    return {key: trials for key, trials in cells.items() if trials}


def _noise(session: Session) -> dict[Load, float]:
    """The noise floor of each load that has one, as a log-ratio."""
    floors = {(each.load, each.clients): each.ratio for each in judge.judge(session).noise}
    found = {}
    for load in session.plan.workload.loads:
        ratio = floors.get((load.label, load.clients))
        if ratio and ratio.low and ratio.high:
            found[load] = float(max(abs(np.log(ratio.low)), abs(np.log(ratio.high))))
    return found


def _wanted(load: Load, figures: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([PRIMARY[load.kind], *figures]))


def _logs(trials: Sequence[Measurement], figure: str) -> list[float]:
    """The logarithms of a figure of the accepted trials, one a block."""
    values = judge.by_block(trials, FIGURES[figure]).values()
    return [float(np.log(value)) for value in values if value is not None and 0 < value < np.inf]


def _row(
    server: str,
    load: Load,
    figure: str,
    logs: tuple[Sequence[float], Sequence[float]],
    interval: stats.Interval,
    verdict: stats.Verdict,
) -> Compared:
    def spread(values: Sequence[float]) -> Spread | None:
        return judge.spread(np.exp(values).tolist()) if values else None

    return Compared(
        server=server,
        load=load.label,
        clients=load.clients,
        figure=figure,
        primary=figure == PRIMARY[load.kind],
        a=spread(logs[0]),
        b=spread(logs[1]),
        ratio=judge.ratio_of(interval),
        verdict=verdict,
    )


def _held(session: Session) -> str:
    labels = dict.fromkeys(load.label for load in session.plan.workload.loads)
    names = ", ".join(server.name for server in session.plan.servers)
    return f"{names} under {', '.join(labels)}"


def _missing(names: tuple[str, str], mine: Cells, theirs: Cells) -> Iterable[str]:
    for name, cells, others in ((names[0], mine, theirs), (names[1], theirs, mine)):
        only: dict[str, list[str]] = {}
        for load, server in cells:
            if (load, server) not in others:
                only.setdefault(server, []).append(f"{load.label} at {load.clients:,}")
        for server, loads in only.items():
            yield f"only in {name}: {server} under {', '.join(loads)}"


def _cautions(*every: Session) -> tuple[str, ...]:
    said = []
    if not all(session.plan.control for session in every):
        said.append("no control was entered in each session, so the noise floor is not known")
    if min(len({m.trial.block for m in session.measurements}) for session in every) < 3:
        said.append("fewer than 3 blocks: no difference is claimed")
    return tuple(said)
