"""From measurements to rows, ratios, ranks and the limiter: pure.

Every figure is taken per trial, then summarised over the blocks: the median, with the
least and the greatest beside it. Percentiles are never pooled or averaged. Servers are
compared by the ratio of their figures within a block, which takes out what drifts between
blocks. All comparisons of one kind of load, which are printed as one table, are one family.
Who failed under a load is shown there and compared with nobody: to judge a server by the
blocks in which it held would be to judge it by its luck. What the rules are and where they
come from stands in docs/method.md.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from . import scaling, search, stats
from .figures import (
    FIGURES,
    MORE_IS_BETTER,
    PRIMARY,
    Figure,
    Limits,
    limiter,
    server_cpu_us_per_message,
    unsettled,
)
from .gates import bound_by
from .model import (
    Goal,
    Judged,
    Load,
    Measurement,
    NoiseFloor,
    Ratio,
    Row,
    Server,
    Session,
    Spread,
    Status,
)

SAME_MARGIN = 0.03  # "same": the ratio is shown to be within 3 % of 1
ALPHA = 0.05  # a table with any false claim in it is no oftener than this
VERDICTS_SHARE = 0.8  # of ALPHA: the verdicts'; the pairs that only ranks show have the rest
PERCENTILES = ("latency_p50_us", "latency_p99_us", "latency_p999_us")
# What an old session counted twice: here, and again by how the connection ended.
_ENDED_EARLY = "the connection ended before its echo"


def judge(session: Session) -> Judged:
    """The rows of a session, finished or not, in the plan's order of loads and servers."""
    plan = session.plan
    told = session.environment.get("limits", {})
    limits: Limits = {key: value for key, value in told.items() if isinstance(value, int)}
    by_cell: dict[tuple[Load, str], list[Measurement]] = {}
    for measurement in session.measurements:
        trial = measurement.trial
        by_cell.setdefault((trial.load, trial.server), []).append(measurement)
    tables: dict[str, dict[Load, list[Row]]] = {}
    for load in () if plan.workload.search else plan.workload.loads:
        rows = [
            _row(plan.workload.name, server, load, by_cell[load, server.name], limits)
            for server in plan.servers
            if (load, server.name) in by_cell
        ]
        tables.setdefault(load.kind, {})[load] = rows
    judged = [_compared(session, table, by_cell) for table in tables.values()]
    found = {load: rows for each in judged for load, rows in each.rows.items()}
    rows = [row for load in plan.workload.loads for row in found.get(load, ())]
    noise = [floor for each in judged for floor in each.noise]
    return Judged(
        workload=plan.workload,
        rows=tuple(rows),
        noise=tuple(noise),
        warnings=(
            *_warnings(session, rows, noise),
            *(line for each in judged for line in each.warnings),
        ),
        environment=session.environment,
        started_at=session.started_at,
        finished=_finished(session),
        reference=plan.workload.reference,
        control=plan.control,
        memory=tuple(scaling.memory(session)),
        breaking=tuple(scaling.breaking(session, limits)),
    )


# -- one server under one load -------------------------------------------------------------


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, least and greatest of the values that are known."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def accepted(trials: Sequence[Measurement]) -> list[Measurement]:
    """The trials whose figures stand: well-ended and not gated."""
    return [trial for trial in trials if trial.accepted]


def _row(
    workload: str, server: Server, load: Load, trials: Sequence[Measurement], limits: Limits
) -> Row:
    good = accepted(trials)
    ended = [trial for trial in trials if trial.messages is not None]
    # Gated or past its limit, what a server did is shown when there is nothing better.
    shown = good or [trial for trial in ended if trial.status == "ok"] or ended or list(trials)
    last = _last(trials)
    limiters = sorted({limiter(trial, limits) for trial in shown} - {""})
    row = Row(
        server=server.name,
        workload=workload,
        load=load.label,
        clients=load.clients,
        tier=server.tier,
        model=server.model,
        status=_status(last),
        reason=_reasons(last, gated=not good),
        blocks=len({trial.trial.block for trial in good}),
        blocks_run=len(last),
        bound=any(map(bound_by, shown)),
        # A gated attempt that was repeated is published with its trial, and not counted here.
        connected=_least(trial.connected for trial in last),
        served=_least(trial.served for trial in last),
        unserved=_sum(
            None if trial.served is None else load.clients - trial.served for trial in last
        ),
        lost=_sum(trial.lost for trial in last),
        altered=_sum(trial.altered for trial in last),
        errors=_errors(last),
        clients_without_echo=_greatest(trial.clients_without_echo for trial in shown),
        at_ceiling=sum(trial.at_ceiling for trial in shown),
        gated=sum(bool(trial.gates) for trial in trials),
        unsettled=sum(map(unsettled, shown)),
        outliers=_outliers(good, FIGURES[PRIMARY[load.kind]]),
        limiter=" / ".join(limiters),
        versions=trials[-1].versions if trials else {},
        python=trials[-1].python if trials else "",
        gil=trials[-1].gil if trials else None,
        hosts="; ".join(dict.fromkeys(_hosts(trial) for trial in shown if trial.hosts)),
        notes=tuple(dict.fromkeys(note for trial in trials for note in trial.notes)),
    )
    figures = {name: spread(map(figure, shown)) for name, figure in FIGURES.items()}
    figures |= {name: None for name in PERCENTILES if not _known(name, shown)}
    return replace(row, **figures)


def _known(percentile: str, trials: Iterable[Measurement]) -> bool:
    """Whether a percentile is known in every trial that had any latency.

    It is left out of a trial when too few intervals lie beyond it, which is so where a rare
    stall fell into the slice: a median of the rest would be that of the lucky trials.
    """
    figure = FIGURES[percentile]
    return all(figure(trial) is not None for trial in trials if trial.latency)


def _last(trials: Sequence[Measurement]) -> list[Measurement]:
    """Of each block, its last attempt."""
    return list({trial.trial.block: trial for trial in trials}.values())


def _hosts(trial: Measurement) -> str:
    """Who served, and who the clients were."""
    of = {
        role: ", ".join(host.name for host in trial.hosts if host.role == role)
        for role in ("server", "client")
    }
    return f"{of['server']} ← {of['client']}"


def _status(trials: Iterable[Measurement]) -> Status:
    """ok when every block was; not run when none could be; else failed."""
    statuses = {trial.status for trial in trials}
    if statuses == {"ok"}:
        return "ok"
    return "not run" if statuses == {"not run"} else "failed"


def _reasons(trials: Sequence[Measurement], gated: bool) -> str:
    """Why each block is not ok; of a row that nothing of stands, why it was gated."""
    told = []
    for trial in trials:
        why = trial.reason if trial.status != "ok" else "; ".join(trial.gates) if gated else ""
        alone = trial.status == "not run" or len(trials) == 1
        if why:
            told.append(why if alone else f"block {trial.trial.block + 1}: {why}")
    return "; ".join(dict.fromkeys(told))


def _errors(trials: Iterable[Measurement]) -> dict[str, int]:
    """What went wrong, by its name, each failure once."""
    errors: dict[str, int] = {}
    for trial in trials:
        for name, count in _once(trial).items():
            errors[name] = errors.get(name, 0) + count
    return errors


def _once(trial: Measurement) -> dict[str, int]:
    """A trial's failures. In those from before the engine's own CPU time was recorded, a
    connection that ended before its first echo stands twice: as that, and by how it ended."""
    early = trial.errors.get(_ENDED_EARLY, 0)
    ended = sum(
        count
        for name, count in trial.errors.items()
        if name != _ENDED_EARLY and not name.startswith("no first echo")
    )
    if trial.engine_cpu_s is not None or ended < early:
        return trial.errors
    return {name: count for name, count in trial.errors.items() if name != _ENDED_EARLY}


def _outliers(trials: Sequence[Measurement], figure: Figure) -> tuple[int, ...]:
    known = [(trial.trial.block, value) for trial in trials if (value := figure(trial)) is not None]
    marked = stats.outliers([value for _, value in known])
    return tuple(block for (block, _), out in zip(known, marked, strict=True) if out)


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _greatest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


# -- the servers under the loads of one kind, compared -------------------------------------

Values = Mapping[int, float | None]  # a figure by blocks
_Pair = tuple[Load, str, str]  # under this load, the one over the other


class _Table(NamedTuple):
    """What is printed as one: all loads of a kind."""

    rows: dict[Load, list[Row]]
    noise: list[NoiseFloor]
    warnings: list[str]


def _compared(
    session: Session,
    table: Mapping[Load, Sequence[Row]],
    cells: Mapping[tuple[Load, str], Sequence[Measurement]],
) -> _Table:
    """The rows with ratio, verdict, rank and cost over the floor; and the noise floors."""
    reference, control = session.plan.workload.reference, session.plan.control
    values = {load: _comparable(load, rows, cells) for load, rows in table.items()}
    known = {load: of for load, of in values.items() if reference in of}
    noise, floors, warnings = _noise(known, reference, control)
    more_is_better = all(MORE_IS_BETTER[PRIMARY[load.kind]] for load in table)
    family = {
        (load, *pair): stats.log_ratios(known[load][pair[0]], known[load][pair[1]])
        for load in noise
        for pair in _pairs(known[load].keys() - {control}, reference)
    }
    found = stats.compare(
        family,
        noise={pair: noise[pair[0]] for pair in family},
        margin=SAME_MARGIN,
        more_is_better=more_is_better,
        alpha=ALPHA,
        weights=_weights(family, reference),
    )
    judged = {}
    for load, rows in table.items():
        bound = {row.server for row in rows if row.bound}
        words = {
            pair: each.verdict if _stands(each.verdict, pair[1], pair[2], bound) else "not resolved"
            for pair, each in found.items()
            if pair[0] == load
        }
        ranks = _ranks(known[load].keys() - {control}, words) if load in noise else {}
        costs = _over_floor(load, rows, cells)
        judged[load] = [
            _placed(row, load, values[load], reference, control, words, ranks, costs)
            for row in rows
        ]
    if reference and (without := [load for load in table if load not in known]):
        warnings.insert(
            0,
            f"no ratio, verdict or rank where {reference}, which the others are compared with, "
            f"failed, was gated or lacks the figure: {_named(without)}",
        )
    return _Table(judged, floors, warnings)


def _comparable(
    load: Load, rows: Sequence[Row], cells: Mapping[tuple[Load, str], Sequence[Measurement]]
) -> dict[str, Values]:
    """The figure that the load is about, of each server whose row stands."""
    name = PRIMARY[load.kind]
    found = {
        row.server: by_block(cells[load, row.server], FIGURES[name])
        for row in rows
        if row.status == "ok" and getattr(row, name) is not None
    }
    return {server: known for server, known in found.items() if _any(known)}


def _any(values: Values) -> bool:
    return any(value is not None for value in values.values())


def _noise(
    values: Mapping[Load, Mapping[str, Values]], reference: str, control: str
) -> tuple[dict[Load, float], list[NoiseFloor], list[str]]:
    """What the reference shows against itself: by load, to print, and where it should not.

    It is an estimate from the same few blocks as all else, so it may come out too small; the
    control that is told apart from its reference is said, as nothing should do that.
    """
    itself = {
        load: stats.log_ratios(of[control], of[reference])
        for load, of in values.items()
        if control in of
    }
    itself = {load: ratios for load, ratios in itself.items() if ratios}
    found = stats.compare(itself, noise=0.0, margin=SAME_MARGIN, alpha=ALPHA)
    noise = {load: stats.noise_floor(each.interval) for load, each in found.items()}
    floors = [
        NoiseFloor(load.label, load.clients, ratio_of(each.interval))
        for load, each in found.items()
    ]
    apart = [load for load, each in found.items() if each.verdict in ("faster", "slower")]
    said = (
        f"{control} is {reference} under another name, and yet was told apart from it: "
        f"{_named(apart)}. Something besides the servers differs there: trust no small difference"
    )
    finite = {load: floor for load, floor in noise.items() if floor < float("inf")}
    return finite, floors, [said] * bool(apart)


def _named(loads: Iterable[Load]) -> str:
    return ", ".join(f"{load.label} at {load.clients:,}" for load in loads)


def _pairs(servers: Iterable[str], reference: str) -> Iterable[tuple[str, str]]:
    """Every two of them, the reference always the second."""
    for a, b in combinations(sorted(servers), 2):
        yield (b, a) if a == reference else (a, b)


def _weights(family: Iterable[_Pair], reference: str) -> dict[_Pair, float]:
    """How a table's rate of false claims is shared out: most of it for what it prints."""
    pairs = list(family)
    verdicts = sum(against == reference for *_, against in pairs)
    others = len(pairs) - verdicts
    return {
        pair: VERDICTS_SHARE / verdicts if pair[2] == reference else (1 - VERDICTS_SHARE) / others
        for pair in pairs
    }


def _placed(
    row: Row,
    load: Load,
    values: Mapping[str, Values],
    reference: str,
    control: str,
    words: Mapping[_Pair, stats.Verdict],
    ranks: Mapping[str, tuple[int, int]],
    costs: Mapping[str, float],
) -> Row:
    """A row with what the comparisons say of it."""
    best, worst = ranks.get(row.server, (None, None))
    row = replace(row, rank=best, rank_worst=worst, cpu_over_floor=costs.get(row.server))
    if row.server in (reference, control) or not {row.server, reference} <= values.keys():
        return row
    ratios = stats.log_ratios(values[row.server], values[reference])
    if not ratios:
        return row
    return replace(
        row,
        ratio=ratio_of(stats.median_interval(ratios, 1 - ALPHA)),
        verdict=words.get((load, row.server, reference), "not resolved"),
    )


def _over_floor(
    load: Load, rows: Sequence[Row], cells: Mapping[tuple[Load, str], Sequence[Measurement]]
) -> dict[str, float]:
    """CPU time per message over that of the C floor, of the servers whose rows stand."""
    costs = {
        row.server: by_block(cells[load, row.server], server_cpu_us_per_message)
        for row in rows
        if row.status == "ok"
    }
    floor = next((row.server for row in rows if row.tier == "floor" and row.server in costs), "")
    found = {
        server: stats.median(ratios)
        for server, known in costs.items()
        if floor and (ratios := stats.log_ratios(known, costs[floor]))
    }
    return {server: float(np.exp(log)) for server, log in found.items() if np.isfinite(log)}


def _stands(verdict: str, server: str, against: str, bound: set[str]) -> bool:
    """A bound (at least so fast) supports only that it is faster than what is not bound."""
    if server in bound:
        return verdict == "faster" and against not in bound
    return verdict == "slower" if against in bound else True


def _ranks(
    servers: Iterable[str], words: Mapping[_Pair, stats.Verdict]
) -> dict[str, tuple[int, int]]:
    """Ranks with ties, by the claims of a load, those against the reference among them."""
    claims = [
        (a, b) if word == "faster" else (b, a)
        for (_, a, b), word in words.items()
        if word in ("faster", "slower")
    ]
    return stats.ranks_with_ties(servers, claims)


def floor(session: Session, load: Load, figure: str) -> float | None:
    """What the control shows of a figure against itself under a load: nothing smaller is claimed.

    A log-ratio (0.05: some 5 %), the farther end of the interval, infinite below 3 blocks. None
    where it is not known: no control, none that shares a good block with the reference, or
    either failed.
    """
    names = (session.plan.workload.reference, session.plan.control)
    cells: dict[str, list[Measurement]] = {name: [] for name in names if name}
    for measurement in session.measurements:
        trial = measurement.trial
        if trial.load == load and trial.server in cells:
            cells[trial.server].append(measurement)
    if len(cells) < 2 or any(_status(_last(trials)) != "ok" for trials in cells.values()):
        return None
    reference, control = (by_block(cells[name], FIGURES[figure]) for name in names)
    itself = stats.log_ratios(control, reference)
    return stats.noise_floor(stats.median_interval(itself)) if itself else None


def by_block(trials: Sequence[Measurement], figure: Figure) -> dict[int, float | None]:
    """The figure of each block's accepted trial."""
    return {trial.trial.block: figure(trial) for trial in accepted(trials)}


def ratio_of(interval: stats.Interval) -> Ratio:
    """Of an interval of log-ratios; a median of 0 or inf: one of the two figures was 0."""
    low, high = stats.undone(interval.low), stats.undone(interval.high)
    with np.errstate(over="ignore"):
        return Ratio(float(np.exp(interval.median)), low, high, interval.blocks)


def enough(judged: Judged, goal: Goal, blocks: int, elapsed_s: float, block_s: float) -> str:
    """Why no further block is to be run, in words; "" when one is.

    block_s: how long one takes, so that a session does not overrun its time.
    """
    width = widest(judged)
    known = f"within {width:.1%} of its ratio" if width < float("inf") else "not known yet"
    reached = f"the widest interval is {known}"
    if width <= goal.precision:
        return f"{blocks} blocks: {reached}, as asked for"
    if blocks >= goal.max_blocks:
        return f"{blocks} blocks, as many as allowed: {reached}, {goal.precision:.1%} was asked for"
    if goal.time_s is not None and elapsed_s + block_s > goal.time_s:
        return f"{blocks} blocks, the time is over: {reached}, {goal.precision:.1%} was asked for"
    return ""


def widest(judged: Judged) -> float:
    """The greatest half-width of a ratio's interval, as a share; infinite while unknown."""
    widths = []
    for row in judged.rows:
        if row.ratio is None:
            continue
        low, high = row.ratio.low, row.ratio.high
        if low is None or high is None:
            return float("inf")
        widths.append(max(high / row.ratio.median, row.ratio.median / low) - 1)
    return max(widths, default=float("inf"))


# -- the whole session ---------------------------------------------------------------------


def _finished(session: Session) -> bool:
    done = {m.trial.key for m in session.measurements}
    planned = all(trial.key in done for trial in session.plan.trials)
    return planned and not search.following(session.plan, session.measurements)


def _warnings(session: Session, rows: Sequence[Row], noise: Sequence[NoiseFloor]) -> Iterable[str]:
    """What a reader must know before the numbers."""
    plan = session.plan
    done = {m.trial.key for m in session.measurements}
    missing = sum(trial.key not in done for trial in plan.trials)
    if missing:
        yield (
            f"ended early: {missing} of {len(plan.trials)} trials are missing; "
            "c10k run --resume continues it"
        )
    if session.altered:
        yield "altered: its trials are no longer those that it was finished with"
    if session.mixed:
        yield f"mixed: it was resumed though this had changed: {'; '.join(session.mixed)}"
    blocks = len({m.trial.block for m in session.measurements})
    if plan.workload.search:
        pass  # each count is tried until it is decided
    elif blocks == 1:
        yield "1 block: nothing is known of the spread, and no difference is claimed"
    elif blocks < 3:
        yield f"{blocks} blocks: the spread is shown, no difference is claimed"
    elif not noise:
        why = "too few blocks of the control count" if plan.control else "no control was entered"
        yield f"{why}, so the noise floor is unknown and no difference is claimed"
    if not session.conformance:
        yield "the servers were not checked before they were timed (--unchecked)"
    yield from sorted({m.pinned for m in session.measurements if "not pinned" in m.pinned})
    gated = [m for m in session.measurements if m.gates]
    if gated:
        kinds: dict[str, int] = {}
        for measurement in gated:
            for reason in measurement.gates:
                kind = reason.partition(":")[0]
                kinds[kind] = kinds.get(kind, 0) + 1
        said = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        total = len(session.measurements)
        yield f"{len(gated)} of {total} trials were gated ({said}) and do not count where others do"
    if any(row.bound for row in rows):
        yield (
            "≥, ≤ and ~: the client was the limit (its core was busy more than 90 %, in a storm "
            "80 %, or it sent late by more than a tenth of the latency), or others took enough of "
            "the time to make a p99 (limiter: others). The server may be better than a bound; "
            "~ is what a message cost there, not at the server's own limit, and "
            "where the floor has a ~, so have all × floor"
        )
    if plan.workload.search and search.following(plan, session.measurements):
        yield "the search has not come to its end"
