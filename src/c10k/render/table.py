"""The columns of a result table, once for every format: what each shows and how.

A cell's ± is half the range over the blocks as a share of the median; with one block
there is none. ≥ marks a figure that the client bounded.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, to_builtins

from ..model import Judged, Ratio, Row, Spread

UNKNOWN = "–"


class Column(Struct, frozen=True):
    """One column: its heading and the text of a row's cell."""

    title: str
    cell: Callable[[Row], str]
    right: bool = True


def columns(judged: Judged) -> tuple[Column, ...]:
    """The columns of this session's table: those that say something in any of its rows."""
    labels = {load.label for load in judged.workload.loads}
    telling = {
        "load": len(labels) > 1,
        "rank": any(row.rank is not None for row in judged.rows),
        "ratio": any(row.ratio and row.ratio.low is not None for row in judged.rows),
        "× floor": any(row.cpu_over_floor is not None for row in judged.rows),
        "lag p99 µs": any(row.schedule_lag_p99_us for row in judged.rows),
        "verdict": bool(judged.noise),
    }
    return tuple(column for column in _COLUMNS if telling.get(column.title, True))


def rows(judged: Judged) -> tuple[Row, ...]:
    """The rows as a table shows them: by load, the fastest first, failures last."""
    order = [load.label for load in judged.workload.loads]

    def place(row: Row) -> tuple[Any, ...]:
        figure = row.messages_per_s if row.load.startswith("closed") else row.latency_p99_us
        best = figure.median if figure else 0.0
        best = -best if row.load.startswith("closed") else best
        return (order.index(row.load), row.clients, row.status != "ok", best, row.server)

    return tuple(sorted(judged.rows, key=place))


def heading(judged: Judged) -> str:
    """One line: what was run, when and where."""
    environment = judged.environment
    cpu = environment.get("cpu", {}).get("model") or "unknown CPU"
    cores = len(environment.get("cpu", {}).get("cores_allowed") or ())
    kernel = environment.get("system", {}).get("kernel") or ""
    python = environment.get("python", {}).get("version") or ""
    where = [f"{cores} cores of {cpu}" if cores else cpu, f"Linux {kernel}", f"Python {python}"]
    return f"{judged.workload.title}. {judged.started_at[:10]}, {', '.join(where)}"


def remarks(judged: Judged) -> tuple[str, ...]:
    """What must be read with the numbers: limits first, then each row's reason and notes."""
    said = list(judged.warnings)
    alike: dict[tuple[int, str, str], list[str]] = {}
    for row in rows(judged):
        if row.reason:
            alike.setdefault((row.clients, row.status, row.reason), []).append(row.server)
    for (clients, status, reason), servers in alike.items():
        said.append(f"{', '.join(servers)}, {clients:,} clients, {status}: {reason}")
    for row in rows(judged):
        if row.clients_without_echo:
            said.append(
                f"{row.server}, {row.clients:,} clients: up to {row.clients_without_echo:,} had "
                "no echo during a whole slice"
            )
        if row.outliers:
            blocks = ", ".join(str(block + 1) for block in row.outliers)
            said.append(
                f"{row.server}, {row.clients:,} clients, {row.load}: outlier in block {blocks}"
            )
    late = [row for row in rows(judged) if row.unsettled]
    if late:
        trials = sum(row.unsettled for row in late)
        named = ", ".join(f"{row.server} at {row.clients:,}" for row in late)
        said.append(
            f"{trials} trial{'s' * (trials > 1)} had not settled when the slice began: {named}"
        )
    noted = dict.fromkeys((row.server, note) for row in judged.rows for note in row.notes)
    said += [f"{server}: {note}" for server, note in noted]
    return tuple(said)


def footers(judged: Judged) -> tuple[str, ...]:
    """What stands under the table: the reference against itself, nothing smaller is claimed."""
    if not judged.noise:
        return ()
    said = [
        f"{floor.clients:,} clients, {floor.load}: {ratio(floor.ratio)}" for floor in judged.noise
    ]
    return (
        f"Noise floor, {judged.reference} against itself ({judged.control}): {'; '.join(said)}. "
        f"Ratios are to {judged.reference}; nothing within its noise floor is claimed.",
    )


def ratio(value: Ratio | None) -> str:
    """A ratio with its 95 % interval."""
    if value is None:
        return UNKNOWN
    if value.low is None or value.high is None:
        return f"{value.median:.2f}"
    digits = 3 if value.high / value.low < 1.1 else 2
    return f"{value.median:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def as_dict(row: Row) -> dict[str, Any]:
    """A row for programs: medians under the plain key, the range beside them."""
    flat: dict[str, Any] = {}
    for key in row.__struct_fields__:
        value = getattr(row, key)
        if isinstance(value, Spread) or (value is None and key in _SPREADS):
            flat[key] = value.median if value else None
            flat[f"{key}_least"] = value.least if value else None
            flat[f"{key}_greatest"] = value.greatest if value else None
        else:
            flat[key] = to_builtins(list(value) if isinstance(value, tuple) else value)
    return flat


def significant(value: float) -> str:
    """Three significant digits, thousands separated, no exponent above a thousandth."""
    rounded = float(f"{value:.3g}")
    size = abs(rounded)
    if size >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:.1f}" if size >= 10 else f"{rounded:.2f}" if size >= 1 else f"{rounded:g}"


_SPREADS = {name for name, kind in Row.__annotations__.items() if "Spread" in str(kind)}


def _figure(key: str, scale: float = 1.0, varied: bool = False) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        spread: Spread | None = getattr(row, key)
        if spread is None:
            return UNKNOWN
        text = significant(spread.median * scale)
        if varied and row.blocks > 1 and spread.median:
            half = (spread.greatest - spread.least) / 2 / abs(spread.median) * 100
            text += f" ±{half:.0f} %" if half >= 1 else f" ±{max(half, 0.1):.1f} %"
        return ("≥ " if row.bound and key == "messages_per_s" else "") + text

    return cell


def _errors(row: Row) -> str:
    found = {"lost": row.lost, "altered": row.altered, **row.errors}
    if row.served is None:
        return UNKNOWN
    missing = row.clients - row.served
    parts = [f"{missing:,} not served"] if missing else []
    parts += [
        f"{count:,} {name}"
        for name, count in found.items()
        if count and name in ("lost", "altered")
    ]
    others = sum(row.errors.values()) - missing
    if others > 0:
        parts.append(f"{others:,} errors")
    return ", ".join(parts) or "0"


def _limiter(row: Row) -> str:
    if row.status == "not run":
        return row.status
    if row.status == "failed":
        return f"failed: {row.limiter}" if row.limiter else row.status
    return "gated" if not row.blocks else row.limiter


_COLUMNS = (
    Column("load", lambda row: row.load, right=False),
    Column("clients", lambda row: f"{row.clients:,}"),
    Column("rank", lambda row: UNKNOWN if row.rank is None else str(row.rank)),
    Column("server", lambda row: row.server, right=False),
    Column("messages/s", _figure("messages_per_s", varied=True)),
    Column("ratio", lambda row: ratio(row.ratio), right=False),
    Column("verdict", lambda row: row.verdict or UNKNOWN, right=False),
    Column("p50 ms", _figure("latency_p50_us", 1e-3)),
    Column("p99 ms", _figure("latency_p99_us", 1e-3)),
    Column("lag p99 µs", _figure("schedule_lag_p99_us")),
    Column("CPU µs/message", _figure("server_cpu_us_per_message")),
    Column(
        "× floor",
        lambda row: UNKNOWN if row.cpu_over_floor is None else f"{row.cpu_over_floor:.1f}",
    ),
    Column("KiB/client", _figure("memory_per_client_bytes", 1 / 1024)),
    Column("connect s", _figure("connect_s")),
    Column("errors", _errors),
    Column("limiter", lambda row: _limiter(row), right=False),
)


def cells(judged: Judged) -> Sequence[Sequence[str]]:
    """The table's text, row by row."""
    shown = columns(judged)
    return [[column.cell(row) for column in shown] for row in rows(judged)]
