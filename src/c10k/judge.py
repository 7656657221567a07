"""From measurements to rows, ratios, ranks and the limiter: pure.

Every figure is taken per trial, then summarised over the blocks: the median, with the
least and the greatest beside it. Percentiles are never pooled or averaged. Servers are
compared by the ratio of their figures within a block, which takes out what drifts between
blocks. What the rules are and where they come from stands in docs/method.md.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from msgspec.structs import replace

from . import stats
from .gates import BOUND_SHARE
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
UNSETTLED_SHARE = 0.02  # of the rate: what a longer warm-up must change to be asked for
BIN_S = 0.02  # the slices that the warm-up's rule is applied to

Figure = Callable[[Measurement], float | None]


def judge(session: Session) -> Judged:
    """The rows of a session, finished or not, in the plan's order of loads and servers."""
    plan = session.plan
    by_cell: dict[tuple[Load, str], list[Measurement]] = {}
    for measurement in session.measurements:
        trial = measurement.trial
        by_cell.setdefault((trial.load, trial.server), []).append(measurement)
    rows: list[Row] = []
    noise: list[NoiseFloor] = []
    for load in plan.workload.loads:
        cells = {
            server.name: by_cell[load, server.name]
            for server in plan.servers
            if (load, server.name) in by_cell
        }
        described = [
            _row(plan.workload.name, server, load, cells[server.name])
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
    )


# -- one trial -----------------------------------------------------------------------------


def server_cpu_share(measurement: Measurement) -> float | None:
    """Cores that the server's process kept busy during the slice."""
    if measurement.server.cpu_s is None or not measurement.duration_s:
        return None
    return measurement.server.cpu_s / measurement.duration_s


def server_cpu_us_per_message(measurement: Measurement) -> float | None:
    """CPU time of the server's process per message echoed in the slice, µs."""
    if measurement.server.cpu_s is None or not measurement.messages_per_s:
        return None
    return measurement.server.cpu_s / (measurement.messages or 1) * 1e6


def client_cpu_us_per_message(measurement: Measurement) -> float | None:
    """CPU time of the busiest worker per message of its even share, µs; closed loop only.

    An open loop's client spins while it waits, so its CPU time says nothing.
    """
    if measurement.client_cpu_share is None or measurement.trial.load.kind != "closed":
        return None
    if not measurement.messages_per_s:
        return None
    return measurement.client_cpu_share * measurement.workers / measurement.messages_per_s * 1e6


def memory_per_client_bytes(measurement: Measurement) -> float | None:
    """Growth of the server's own memory from no client to all of them, per client."""
    before, after = measurement.server.pss_before_bytes, measurement.server.pss_after_bytes
    if before is None or after is None or not measurement.served:
        return None
    return (after - before) / measurement.served


def unsettled(measurement: Measurement) -> bool:
    """Whether a trial is known not to have been steady from its slice's start on.

    The echoes' counts are put into bins of equal length by linear interpolation, and
    stats.settled (MSER-5) says where the unsteady beginning should be cut off. A later
    cut than the warm-up's counts only when it would change the rate by more than
    UNSETTLED_SHARE; a rate that never settles, when the slice's halves differ by as much.
    """
    load = measurement.trial.load
    if load.kind == "idle" or measurement.status != "ok" or not measurement.bins:
        return False
    at_s = np.array([0.0, *(ns / 1e9 for ns, _ in measurement.bins)])
    counts = np.array([0.0, *(count for _, count in measurement.bins)])
    edges = np.arange(0.0, at_s[-1], BIN_S)
    bins = np.diff(np.interp(edges, at_s, counts))
    start = round(load.warmup_s / BIN_S)
    if len(bins) < stats.MIN_BINS or start >= len(bins):
        return False  # too short to say
    cut = stats.settled(bins.tolist())
    if cut is None:
        cut = (start + len(bins)) // 2
    if cut <= start:
        return False
    return bool(abs(bins[cut:].mean() / max(bins[start:].mean(), 1e-9) - 1) > UNSETTLED_SHARE)


# needle in a failed trial's reason → what limited it
_LIMITS = (
    ("open files", "descriptors"),
    ("requested address", "ports"),
    ("new thread", "threads"),
    ("MemoryError", "memory"),
    ("SIGKILL", "memory"),
    ("clients served", "connecting"),
)


def limiter(measurement: Measurement) -> str:
    """What stopped a trial from going faster, or at all."""
    if measurement.status == "not run":
        return ""
    use = measurement.server
    if measurement.status == "failed":
        for needle, what in _LIMITS:
            if needle in measurement.reason:
                return what
    queue, limit = use.accept_queue_max, use.accept_queue_limit
    if queue is not None and limit is not None and queue >= limit > 0:
        return "accept queue"
    kind, client = measurement.trial.load.kind, measurement.client_cpu_share
    if kind == "closed" and client is not None and client >= BOUND_SHARE:
        return "client CPU"
    share = server_cpu_share(measurement)
    if kind != "idle" and share is not None and share >= BOUND_SHARE:
        return "server CPU"
    return "nothing found"


# row field → the figure of one trial
_FIGURES: dict[str, Figure] = {
    "messages_per_s": lambda m: m.messages_per_s,
    "latency_p50_us": lambda m: m.latency.p50_us if m.latency else None,
    "latency_p99_us": lambda m: m.latency.p99_us if m.latency else None,
    "server_cpu_us_per_message": server_cpu_us_per_message,
    "client_cpu_us_per_message": client_cpu_us_per_message,
    "memory_per_client_bytes": memory_per_client_bytes,
    "connect_s": lambda m: m.connect_s,
    "fairness": lambda m: m.fairness,
    "schedule_lag_p99_us": lambda m: m.schedule_lag.p99_us if m.schedule_lag else None,
    "latency_from_send_p99_us": (
        lambda m: m.latency_from_send.p99_us if m.latency_from_send else None
    ),
}

# kind → the figure that servers are ranked by, and whether more of it is better
PRIMARY: dict[str, tuple[str, bool]] = {
    "closed": ("messages_per_s", True),
    "open": ("latency_p99_us", False),
    "idle": ("memory_per_client_bytes", False),
}


# -- one server under one load -------------------------------------------------------------


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, least and greatest of the values that are known."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def accepted(trials: Sequence[Measurement]) -> list[Measurement]:
    """The trials whose figures stand: well-ended and not gated."""
    return [trial for trial in trials if trial.status == "ok" and not trial.gates]


def _row(workload: str, server: Server, load: Load, trials: Sequence[Measurement]) -> Row:
    good = accepted(trials)
    ended = [trial for trial in trials if trial.messages is not None]
    # Gated or past its limit, what a server did is shown when there is nothing better.
    shown = good or [trial for trial in ended if trial.status == "ok"] or ended or list(trials)
    last = {trial.trial.block: trial for trial in trials}  # of each block, its last attempt
    limiters = sorted({limiter(trial) for trial in shown} - {""})
    row = Row(
        server=server.name,
        workload=workload,
        load=load.label,
        clients=load.clients,
        tier=server.tier,
        model=server.model,
        status=_status(last.values()),
        reason="; ".join(
            dict.fromkeys(
                _reason(trial, len(last)) for trial in last.values() if trial.status != "ok"
            )
        ),
        blocks=len(good),
        bound="client CPU" in limiters,
        connected=_least(trial.connected for trial in trials),
        served=_least(trial.served for trial in trials),
        lost=_sum(trial.lost for trial in trials),
        altered=_sum(trial.altered for trial in trials),
        errors=_errors(trials),
        clients_without_echo=_greatest(trial.clients_without_echo for trial in shown),
        gated=sum(bool(trial.gates) for trial in trials),
        unsettled=sum(map(unsettled, shown)),
        outliers=_outliers(good, _FIGURES[PRIMARY[load.kind][0]]),
        limiter=" / ".join(limiters),
        notes=tuple(dict.fromkeys(note for trial in trials for note in trial.notes)),
    )
    figures = {name: spread(map(figure, shown)) for name, figure in _FIGURES.items()}
    return replace(row, **figures)


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


def _errors(trials: Sequence[Measurement]) -> dict[str, int]:
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
    name, more_is_better = PRIMARY[load.kind]
    reference, control = session.plan.workload.reference, session.plan.control
    values = {server: _by_block(trials, _FIGURES[name]) for server, trials in cells.items()}
    values = {server: known for server, known in values.items() if any(known.values())}
    bound = {row.server for row in rows if row.bound}
    if reference not in values:
        return list(rows), []
    noise, floors = float("inf"), []
    if control in values:
        interval = stats.median_interval(stats.log_ratios(values[control], values[reference]))
        noise = stats.noise_floor(interval)
        floors.append(NoiseFloor(load.label, load.clients, _ratio(interval)))
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
    ranks = _ranks(values.keys() - {control}, values, bound, noise, more_is_better)
    costs = {
        server: _by_block(trials, server_cpu_us_per_message) for server, trials in cells.items()
    }
    floor = next(
        (row.server for row in rows if row.tier == "floor" and any(costs[row.server].values())), ""
    )
    judged = []
    for row in rows:
        found = against.get(row.server)
        over = stats.log_ratios(costs[row.server], costs[floor]) if floor else ()
        verdict = None if found is None else found.verdict
        if verdict is not None and not _stands(verdict, row.bound, reference in bound):
            verdict = "not resolved"
        judged.append(
            replace(
                row,
                ratio=_ratio(found.interval) if found else None,
                verdict=verdict,
                rank=ranks.get(row.server),
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
) -> dict[str, int]:
    """Ranks with ties over all pairs; none where nothing could be claimed anyway."""
    names = sorted(servers)
    pairs = stats.compare(
        {(a, b): stats.log_ratios(values[a], values[b]) for a, b in combinations(names, 2)},
        noise=noise,
        margin=SAME_MARGIN,
        more_is_better=more_is_better,
    )
    if noise == float("inf"):
        return {}
    claims = []
    for (a, b), found in pairs.items():
        if found.verdict in ("faster", "slower") and _stands(found.verdict, a in bound, b in bound):
            claims.append((a, b) if found.verdict == "faster" else (b, a))
    return stats.ranks_with_ties(names, claims)


def _by_block(trials: Sequence[Measurement], figure: Figure) -> dict[int, float | None]:
    """The figure of each block's accepted trial."""
    return {trial.trial.block: figure(trial) for trial in accepted(trials)}


def _ratio(interval: stats.Interval) -> Ratio:
    def end(value: float) -> float | None:
        return float(np.exp(value)) if np.isfinite(value) else None

    return Ratio(
        float(np.exp(interval.median)), end(interval.low), end(interval.high), interval.blocks
    )


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
    return all(trial.key in done for trial in session.plan.trials)


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
    blocks = len({m.trial.block for m in session.measurements})
    if blocks == 1:
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
        yield "≥: the client's core was busy more than 90 %, so the server may be faster than shown"
