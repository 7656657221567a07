"""From measurements to rows, ratios, ranks and the limiter: pure.

Every figure is taken per trial, then summarised over the blocks: the median, with the
least and the greatest beside it. Percentiles are never pooled or averaged. Servers are
compared by the ratio of their figures within a block, which takes out what drifts between
blocks. What the rules are and where they come from stands in docs/method.md.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

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


def judge(session: Session) -> Judged:
    """The rows of a session, finished or not, in the plan's order of loads and servers."""
    plan = session.plan
    told = session.environment.get("limits", {})
    limits: Limits = {key: value for key, value in told.items() if isinstance(value, int)}
    by_cell: dict[tuple[Load, str], list[Measurement]] = {}
    for measurement in session.measurements:
        trial = measurement.trial
        by_cell.setdefault((trial.load, trial.server), []).append(measurement)
    rows: list[Row] = []
    noise: list[NoiseFloor] = []
    for load in () if plan.workload.search else plan.workload.loads:
        cells = {
            server.name: by_cell[load, server.name]
            for server in plan.servers
            if (load, server.name) in by_cell
        }
        described = [
            _row(plan.workload.name, server, load, cells[server.name], limits)
            for server in plan.servers
            if server.name in cells
        ]
        compared, floor = _compare(session, load, described, cells)
        rows += compared
        noise += floor
    return Judged(
        workload=plan.workload,
        rows=tuple(rows),
        noise=tuple(noise),
        warnings=tuple(_warnings(session, rows, noise)),
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
        reason="; ".join(
            dict.fromkeys(_reason(trial, len(last)) for trial in last if trial.status != "ok")
        ),
        blocks=len(good),
        bound=any(map(bound_by, shown)),
        # A gated attempt that was repeated is published with its trial, and not counted here.
        connected=_least(trial.connected for trial in last),
        served=_least(trial.served for trial in last),
        lost=_sum(trial.lost for trial in last),
        altered=_sum(trial.altered for trial in last),
        errors=_errors(last),
        clients_without_echo=_greatest(trial.clients_without_echo for trial in shown),
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
    return replace(row, **figures)


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


def _reason(trial: Measurement, blocks: int) -> str:
    if trial.status == "not run" or blocks == 1:
        return trial.reason
    return f"block {trial.trial.block + 1}: {trial.reason}"


def _errors(trials: Iterable[Measurement]) -> dict[str, int]:
    errors: dict[str, int] = {}
    for trial in trials:
        for name, count in trial.errors.items():
            errors[name] = errors.get(name, 0) + count
    return errors


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


# -- the servers under one load, compared --------------------------------------------------


def _compare(
    session: Session,
    load: Load,
    rows: Sequence[Row],
    cells: Mapping[str, Sequence[Measurement]],
) -> tuple[list[Row], list[NoiseFloor]]:
    """The rows with ratio, verdict, rank and cost over the floor; and the noise floor."""
    name = PRIMARY[load.kind]
    more_is_better = MORE_IS_BETTER[name]
    reference, control = session.plan.workload.reference, session.plan.control
    values = {server: by_block(trials, FIGURES[name]) for server, trials in cells.items()}
    values = {server: known for server, known in values.items() if any(known.values())}
    bound = {row.server for row in rows if row.bound}
    if reference not in values:
        return list(rows), []
    noise, floors = float("inf"), []
    itself = stats.log_ratios(values.get(control, {}), values[reference])
    if itself:
        interval = stats.median_interval(itself)
        noise = stats.noise_floor(interval)
        floors.append(NoiseFloor(load.label, load.clients, ratio_of(interval)))
    against = stats.compare(
        {
            server: stats.log_ratios(known, values[reference])
            for server, known in values.items()
            if server not in (reference, control)
        },
        noise=noise,
        margin=SAME_MARGIN,
        more_is_better=more_is_better,
    )
    verdicts = {}
    for row in rows:
        if row.server in against:
            verdict = against[row.server].verdict
            stands = _stands(verdict, row.bound, reference in bound)
            verdicts[row.server] = verdict if stands else "not resolved"
    ranks = _ranks(
        values.keys() - {control}, values, bound, noise, more_is_better, reference, verdicts
    )
    costs = {
        server: by_block(trials, server_cpu_us_per_message) for server, trials in cells.items()
    }
    floor = next(
        (row.server for row in rows if row.tier == "floor" and any(costs[row.server].values())), ""
    )
    judged = []
    for row in rows:
        found = against.get(row.server)
        over = stats.log_ratios(costs[row.server], costs[floor]) if floor else ()
        best, worst = ranks.get(row.server, (None, None))
        judged.append(
            replace(
                row,
                ratio=ratio_of(found.interval) if found else None,
                verdict=verdicts.get(row.server),
                rank=best,
                rank_worst=worst,
                cpu_over_floor=float(np.exp(np.median(over))) if over else None,
            )
        )
    return judged, floors


def _stands(verdict: str, bound: bool, reference_bound: bool) -> bool:
    """A bound (at least so fast) supports only that it is faster than what is not bound."""
    if bound:
        return verdict == "faster" and not reference_bound
    return verdict == "slower" if reference_bound else True


def _ranks(
    servers: Iterable[str],
    values: Mapping[str, Mapping[int, float | None]],
    bound: set[str],
    noise: float,
    more_is_better: bool,
    reference: str,
    verdicts: Mapping[str, stats.Verdict],
) -> dict[str, tuple[int, int]]:
    """Ranks with ties; none where nothing could be claimed anyway.

    Besides the comparisons of all pairs, the verdicts against the reference count: these are
    fewer, and so claim more. No rank contradicts a verdict that stands beside it.
    """
    names = sorted(servers)
    pairs = stats.compare(
        {(a, b): stats.log_ratios(values[a], values[b]) for a, b in combinations(names, 2)},
        noise=noise,
        margin=SAME_MARGIN,
        more_is_better=more_is_better,
    )
    if noise == float("inf"):
        return {}
    claims = [(name, reference) for name, word in verdicts.items() if word == "faster"]
    claims += [(reference, name) for name, word in verdicts.items() if word == "slower"]
    for (a, b), found in pairs.items():
        if found.verdict in ("faster", "slower") and _stands(found.verdict, a in bound, b in bound):
            claims.append((a, b) if found.verdict == "faster" else (b, a))
    return stats.ranks_with_ties(names, claims)


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
    low, high = stats.undone(interval.low), stats.undone(interval.high)
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
            "≥ and ≤: the client was the limit (its core was busy more than 90 %, or it sent "
            "late by more than a tenth of the latency): the server may be better than shown"
        )
    if plan.workload.search and search.following(plan, session.measurements):
        yield "the search has not come to its end"
