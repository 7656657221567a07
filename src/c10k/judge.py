"""From measurements to a table's rows: pure.

Every figure is taken per trial, then summarised over the blocks: the median, with the
least and the greatest beside it. Percentiles are never pooled or averaged. A trial that
failed gives its row the reason and no figures of its own.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence

from .model import Judged, Load, Measurement, Row, Server, Session, Spread, Status

BOUND_SHARE = 0.9  # of a core: a client or server busier than this is what limits


def judge(session: Session) -> Judged:
    """The rows of a session, finished or not, in the plan's order of loads and servers."""
    plan = session.plan
    by_cell: dict[tuple[str, Load], list[Measurement]] = {}
    for measurement in session.measurements:
        by_cell.setdefault((measurement.trial.server, measurement.trial.load), []).append(
            measurement
        )
    rows = [
        _row(plan.workload.name, server, load, by_cell[server.name, load])
        for load in plan.workload.loads
        for server in plan.servers
        if (server.name, load) in by_cell
    ]
    finished = len(session.measurements) >= len(plan.trials)
    return Judged(
        workload=plan.workload,
        rows=tuple(rows),
        warnings=tuple(_warnings(session, rows, finished)),
        environment=session.environment,
        started_at=session.started_at,
        finished=finished,
    )


def limiter(measurement: Measurement) -> str:
    """What stopped a trial that came to its end from going faster."""
    if measurement.client_cpu_share is None or measurement.trial.load.kind == "idle":
        return "nothing found"
    if measurement.client_cpu_share >= BOUND_SHARE:
        return "client CPU"
    share = server_cpu_share(measurement)
    if share is not None and share >= BOUND_SHARE:
        return "server CPU"
    return "nothing found"


def server_cpu_share(measurement: Measurement) -> float | None:
    """Cores that the server's process kept busy during the slice."""
    if measurement.server.cpu_s is None or not measurement.duration_s:
        return None
    return measurement.server.cpu_s / measurement.duration_s


def server_cpu_us_per_message(measurement: Measurement) -> float | None:
    """CPU time of the server's process per echoed message, µs."""
    if measurement.server.cpu_s is None or not measurement.messages_per_s:
        return None
    return measurement.server.cpu_s / (measurement.messages or 1) * 1e6


def client_cpu_us_per_message(measurement: Measurement) -> float | None:
    """CPU time of the busiest worker per message it exchanged (its even share), µs."""
    if measurement.client_cpu_share is None or not measurement.messages_per_s:
        return None
    return measurement.client_cpu_share * measurement.workers / measurement.messages_per_s * 1e6


def memory_per_client_bytes(measurement: Measurement) -> float | None:
    """Growth of the server's PSS from no client to all of them, per client."""
    before, after = measurement.server.pss_before_bytes, measurement.server.pss_after_bytes
    if before is None or after is None or not measurement.served:
        return None
    return (after - before) / measurement.served


# row field → the figure of one trial
_FIGURES: dict[str, Callable[[Measurement], float | None]] = {
    "messages_per_s": lambda m: m.messages_per_s,
    "latency_p50_us": lambda m: m.latency.p50_us if m.latency else None,
    "latency_p99_us": lambda m: m.latency.p99_us if m.latency else None,
    "server_cpu_us_per_message": server_cpu_us_per_message,
    "client_cpu_us_per_message": client_cpu_us_per_message,
    "memory_per_client_bytes": memory_per_client_bytes,
    "connect_s": lambda m: m.connect_s,
    "fairness": lambda m: m.fairness,
}


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, least and greatest of the values that are known."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def _row(workload: str, server: Server, load: Load, trials: Sequence[Measurement]) -> Row:
    good = [trial for trial in trials if trial.status == "ok"]
    bad = [trial for trial in trials if trial.status != "ok"]
    # Past its limit a server's figures say what it did do; they stand when none is better.
    shown = good or [trial for trial in bad if trial.messages is not None] or bad
    limiters = sorted({limiter(trial) for trial in good})
    figures = {name: spread(map(figure, shown)) for name, figure in _FIGURES.items()}
    return Row(
        server=server.name,
        workload=workload,
        load=load.label,
        clients=load.clients,
        tier=server.tier,
        model=server.model,
        status=_status(trials),
        reason="; ".join(dict.fromkeys(_reason(trial, len(trials)) for trial in bad)),
        blocks=len(good),
        bound="client CPU" in limiters,
        connected=_least(trial.connected for trial in trials),
        served=_least(trial.served for trial in trials),
        lost=_sum(trial.lost for trial in trials),
        altered=_sum(trial.altered for trial in trials),
        errors=_errors(trials),
        clients_without_echo=_greatest(trial.clients_without_echo for trial in shown),
        limiter=" / ".join(limiters) if good else _first_reason(bad),
        notes=tuple(dict.fromkeys(note for trial in trials for note in trial.notes)),
        **figures,
    )


def _status(trials: Sequence[Measurement]) -> Status:
    """ok when every block was; not run when none could be; else failed."""
    statuses = {trial.status for trial in trials}
    if statuses == {"ok"}:
        return "ok"
    return "not run" if statuses == {"not run"} else "failed"


def _reason(trial: Measurement, blocks: int) -> str:
    if trial.status == "not run" or blocks == 1:
        return trial.reason
    return f"block {trial.trial.block + 1}: {trial.reason}"


def _first_reason(bad: Sequence[Measurement]) -> str:
    return bad[0].reason.split(";")[0].split(":")[0] if bad and bad[0].status == "failed" else ""


def _errors(trials: Sequence[Measurement]) -> dict[str, int]:
    errors: dict[str, int] = {}
    for trial in trials:
        for name, count in trial.errors.items():
            errors[name] = errors.get(name, 0) + count
    return errors


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _greatest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _warnings(session: Session, rows: Sequence[Row], finished: bool) -> Iterable[str]:
    """What a reader must know before the numbers."""
    plan = session.plan
    if not finished:
        done, planned = len(session.measurements), len(plan.trials)
        yield f"ended early: {done} of {planned} trials; c10k run --resume continues it"
    if plan.workload.blocks == 1:
        yield "1 block: nothing is known of the spread, and no difference is claimed"
    elif plan.workload.blocks < 5:
        yield f"{plan.workload.blocks} blocks: the spread is shown, no difference is claimed"
    pinned = {m.pinned for m in session.measurements if m.pinned}
    for how in sorted(pinned):
        if "not pinned" in how:
            yield how
    if any(row.bound for row in rows):
        yield "≥: the client's core was busy more than 90 %, so the server may be faster than shown"
