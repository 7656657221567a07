"""Turns a session's measurements into rows with ratios, ranks and limiters. Pure.

Every figure is computed per trial, then summarised over the blocks: the median, with the
least and the greatest beside it. Percentiles are never pooled or averaged. Servers are
compared by the ratio of their figures within a block, which removes drift between blocks.
All comparisons of one kind of load are one family, printed as one table. A server that failed
under a load is shown there, but not compared: the blocks in which it did not fail would show
only its luck. docs/method.md gives the rules and their sources.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ..model import Judged, Load, Measurement, RequestRow, Row, Server, Session
from ..plan.gates import bound_by
from . import locks, over_load, samples, scaling
from .cells import accepted, by_cell, last_attempts, row_status, spread, spread_of_all
from .figures import FIGURES, FigureOf, KnownLimits, limiter, unsettled
from .ranking import compared
from .warnings import is_finished, negotiated, warnings_of

PERCENTILES = ("latency_p50_us", "latency_p99_us", "latency_p999_us")
# An old session counted such a failure twice: by this name, and by how the connection ended.
_ENDED_EARLY = "the connection ended before its echo"


def judge(session: Session) -> Judged:
    """The rows of a session, finished or not, in the plan's order of loads, then servers."""
    plan = session.plan
    told = session.environment.get("limits", {})
    limits: KnownLimits = {key: value for key, value in told.items() if isinstance(value, int)}
    cells = by_cell(session)
    tables: dict[str, dict[Load, list[Row]]] = {}
    for load in () if plan.workload.search else plan.workload.loads:
        rows = [
            replace(
                row_of(plan.workload.name, server, load, cells[load, server.name], limits),
                build=_build(session, server),
            )
            for server in plan.servers
            if cells[load, server.name]
        ]
        tables.setdefault(load.kind, {})[load] = rows
    judged = [compared(session, table, cells) for table in tables.values()]
    found = {load: rows for each in judged for load, rows in each.rows.items()}
    rows = [row for load in plan.workload.loads for row in found.get(load, ())]
    rows = locks.compared(rows, cells)
    noise = [floor for each in judged for floor in each.noise]
    return Judged(
        workload=plan.workload,
        rows=tuple(rows),
        noise=tuple(noise),
        warnings=(
            *warnings_of(session, rows, noise),
            *(line for each in judged for line in each.warnings),
        ),
        environment=session.environment,
        started_at=session.started_at,
        finished=is_finished(session),
        reference=plan.workload.reference,
        control=plan.control,
        memory=tuple(scaling.memory(session)),
        breaking=tuple(scaling.breaking(session, limits)),
        tls=negotiated(session),
    )


def _build(session: Session, server: Server) -> tuple[str, ...]:
    """The build flags of a server's interpreter, where the session knows them."""
    on = session.runtimes.get(server.name)
    return on.build if on else ()


def row_of(
    workload: str, server: Server, load: Load, trials: Sequence[Measurement], limits: KnownLimits
) -> Row:
    good = accepted(trials)
    ended = [trial for trial in trials if trial.messages is not None]
    # The figures of gated or failed trials are shown when there are no better ones.
    shown = good or [trial for trial in ended if trial.status == "ok"] or ended or list(trials)
    last = last_attempts(trials)
    row = Row(
        server=server.name,
        workload=workload,
        load=load,
        tier=server.tier,
        model=server.model,
        status=row_status(last),
        reason=_reasons(last, gated=not good),
        blocks=len({trial.trial.block for trial in good}),
        blocks_run=len(last),
        bound=any(map(bound_by, shown)),
        # An attempt that was repeated is kept in the session, but not counted here.
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
        outliers=_outliers(good, FIGURES[load.facts.primary]),
        limiters=tuple(sorted({found for trial in shown if (found := limiter(trial, limits))})),
        versions=trials[-1].versions if trials else {},
        python=trials[-1].python if trials else "",
        gil=_lock(trials),
        gil_came_on=any(trial.gil is False and trial.server.gil for trial in trials),
        contender=server.name.replace(f"@{server.interpreter}", "", bool(server.interpreter)),
        interpreter=server.interpreter,
        hosts="; ".join(dict.fromkeys(_hosts(trial) for trial in shown if trial.hosts)),
        loops=" / ".join(sorted({trial.loops for trial in shown} - {""})),
        notes=tuple(dict.fromkeys(note for trial in trials for note in trial.notes)),
    )
    row = replace(
        row, capacity_interval=over_load.interval(shown), over_load=over_load.points(shown)
    )
    figures = {name: spread(map(figure, shown)) for name, figure in FIGURES.items()}
    figures |= {name: None for name in PERCENTILES if not _known(name, shown)}
    return replace(row, **figures, by_request=by_request(load, shown))


def by_request(load: Load, trials: Iterable[Measurement]) -> tuple[RequestRow, ...]:
    """The figures of each request of the load's mix. A percentile is one of all trials, or none."""
    measured = [trial.latency_by_request for trial in trials if trial.latency_by_request]
    return tuple(
        RequestRow(
            request=request.label,
            messages=sum(each.count for each in latencies),
            latency_p50_us=spread_of_all(each.p50_us for each in latencies),
            latency_p90_us=spread_of_all(each.p90_us for each in latencies),
            latency_p99_us=spread_of_all(each.p99_us for each in latencies),
        )
        for request, latencies in zip(load.mix, zip(*measured, strict=False), strict=False)
    )


def _known(percentile: str, trials: Iterable[Measurement]) -> bool:
    """Whether a percentile is known in every trial that had any latency.

    A trial lacks it when too few intervals lie beyond it, as when a rare stall fell into the
    slice. A median of the other trials would be that of the lucky ones.
    """
    figure = FIGURES[percentile]
    return all(figure(trial) is not None for trial in trials if trial.latency)


def _lock(trials: Sequence[Measurement]) -> bool | None:
    """Whether the interpreter's lock was on while it served, or else after its imports."""
    seen = [trial.server.gil for trial in trials if trial.server.gil is not None]
    told = [trial.gil for trial in trials if trial.gil is not None]
    return any(seen or told) if seen or told else None


def _hosts(trial: Measurement) -> str:
    """The hosts of a trial as text: server ← clients."""
    of = {
        role: ", ".join(host.name for host in trial.hosts if host.role == role)
        for role in ("server", "client")
    }
    return f"{of['server']} ← {of['client']}"


def _reasons(trials: Sequence[Measurement], gated: bool) -> str:
    """Why each block is not ok. gated: no trial was accepted, so the gates are named, too."""
    told = []
    for trial in trials:
        why = (
            trial.reason
            if trial.status != "ok"
            else "; ".join(map(str, trial.gates))
            if gated
            else ""
        )
        alone = trial.status == "not run" or len(trials) == 1
        if why:
            told.append(why if alone else f"block {trial.trial.block + 1}: {why}")
    return "; ".join(dict.fromkeys(told))


def _errors(trials: Iterable[Measurement]) -> dict[str, int]:
    """Name of an error → how often it occurred; each failure counts once."""
    errors: dict[str, int] = {}
    for trial in trials:
        for name, count in _once(trial).items():
            errors[name] = errors.get(name, 0) + count
    return errors


def _once(trial: Measurement) -> dict[str, int]:
    """A trial's errors, each counted once.

    In trials from before the engine's own CPU time was recorded, a connection that ended
    before its first echo is counted twice: by that name, and by how it ended.
    """
    early = trial.errors.get(_ENDED_EARLY, 0)
    ended = sum(
        count
        for name, count in trial.errors.items()
        if name != _ENDED_EARLY and not name.startswith("no first echo")
    )
    if trial.engine_cpu_s is not None or ended < early:
        return trial.errors
    return {name: count for name, count in trial.errors.items() if name != _ENDED_EARLY}


def _outliers(trials: Sequence[Measurement], figure: FigureOf) -> tuple[int, ...]:
    known = [(trial.trial.block, value) for trial in trials if (value := figure(trial)) is not None]
    marked = samples.outliers([value for _, value in known])
    return tuple(block for (block, _), out in zip(known, marked, strict=True) if out)


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _greatest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
