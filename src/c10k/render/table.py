"""The tables of a session, once for every format: what each column shows and how.

A cell's ± is half the range over the blocks as a share of the median; with one block
there is none. ≥ and ≤ mark a figure that the client bounded, ~ one that it made another than
the server's own. In brackets stands what is shown and compared with nothing: figures of a
server that failed, or of which every trial was gated.
"""

import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from ..model import (
    BreakingPoint,
    Compared,
    Comparison,
    Judged,
    MemoryRow,
    Ratio,
    Row,
    Slope,
    Spread,
)

UNKNOWN = "–"
HELD_FROM = 1_000  # clients from which on the machine's memory is shown: else noise
FAIR_FROM = 100  # clients from which on it is shown how evenly they were served
FAIR = 0.9  # Jain's index: where it is less, the median message is not the median client's


class Column(Struct, frozen=True):
    """One column: its heading and the text of a row's cell."""

    title: str
    cell: Callable[[Row], str]
    right: bool = True
    optional: bool = False  # left out where it is unknown in every row


class Line(Struct, frozen=True):
    """One line of a table; lines of one group stand together."""

    cells: tuple[str, ...]
    group: str = ""
    status: str = "ok"


class Table(Struct, frozen=True):
    """Headings, each with whether its column stands to the right, and lines."""

    title: str
    headings: tuple[tuple[str, bool], ...]
    lines: tuple[Line, ...]


class View(Struct, frozen=True):
    """What is asked for of the loads' tables: column titles, by their beginnings, any case."""

    sort: str = ""  # by this column, the greatest figure first
    columns: tuple[str, ...] = ()  # these only
    group: Literal["load", "server"] = "load"


class ViewError(ValueError):
    """A column that there is not; the message names those that there are."""


def tables(judged: Judged, view: View | None = None) -> tuple[Table, ...]:
    """What a session has to show: a table for each kind of load, the ladder, memory, limits.

    Raises ViewError.
    """
    view = view or View()
    kinds = list(dict.fromkeys(kind_of(row) for row in rows(judged)))
    _column(view.sort)
    for title in view.columns:
        _column(title)
    found = [_loads(judged, kind, _TITLES[kind] if len(kinds) > 1 else "", view) for kind in kinds]
    found += [_ladder(judged), _memory(judged.memory), _breaking(judged.breaking)]
    return tuple(table for table in found if table.lines)


def only(judged: Judged, servers: Collection[str], clients: Collection[int]) -> Judged:
    """The rows of these servers and client counts; an empty collection leaves all."""
    names = set(servers)
    return replace(
        judged,
        rows=tuple(
            row
            for row in judged.rows
            if (not names or row.server in names) and (not clients or row.clients in clients)
        ),
        memory=tuple(row for row in judged.memory if not names or row.server in names),
        breaking=tuple(row for row in judged.breaking if not names or row.server in names),
    )


def kind_of(row: Row) -> str:
    """The kind of a row's load: closed, open, storm, idle or churn."""
    return row.load.partition(" ")[0]


def columns(judged: Judged, kind: str) -> tuple[Column, ...]:
    """The columns of one kind's table: those that say something in any of its rows."""
    shown = [row for row in judged.rows if kind_of(row) == kind]
    telling = {
        "load": len({row.load for row in shown}) > 1,
        "ratio": any(_told(row.ratio) for row in shown),
        "verdict": any(row.verdict and _told(row.ratio) for row in shown),
        "runs on": _mixed(shown),
    }
    return tuple(
        column
        for column in _COLUMNS
        if telling.get(column.title, True)
        and (not column.optional or any(column.cell(row) != UNKNOWN for row in shown))
    )


def _told(ratio: Ratio | None) -> bool:
    """Whether a ratio says something: it has an end, or lies at one."""
    return ratio is not None and (
        (ratio.low, ratio.high) != (None, None) or ratio.median in (0.0, math.inf)
    )


def _mixed(rows: Sequence[Row]) -> bool:
    """Whether rows ran on several interpreters, or on several versions of one distribution."""
    ran = [row for row in rows if row.python]
    versions = {pair for row in ran for pair in row.versions.items()}
    names = {name for name, _ in versions}
    return len({(row.python, row.gil) for row in ran}) > 1 or len(versions) > len(names)


def rows(judged: Judged) -> tuple[Row, ...]:
    """The rows as the tables show them: by kind and load, the best first, failures last."""
    loads = [load.label for load in judged.workload.loads]
    kinds = list(_TITLES)

    def place(row: Row) -> tuple[Any, ...]:
        key, sign = _BEST[kind_of(row)]
        figure: Spread | None = getattr(row, key)
        best = sign * figure.median if figure else 0.0
        return (
            kinds.index(kind_of(row)),
            loads.index(row.load),
            row.clients,
            not stands(row),
            best,
            row.server,
        )

    return tuple(sorted(judged.rows, key=place))


def stands(row: Row) -> bool:
    """Whether a row's figures are compared: it did not fail, and not every trial was gated."""
    return row.status == "ok" and row.blocks > 0


def heading(judged: Judged) -> str:
    """One line: what was run, when, and where, with what of that makes figures unlike others'."""
    environment = judged.environment
    cpu = environment.get("cpu", {}).get("model") or "unknown CPU"
    allowed = environment.get("cpu", {}).get("cores_allowed")
    cores = len(allowed) if isinstance(allowed, list) else 0
    kernel = environment.get("system", {}).get("kernel") or ""
    python = environment.get("python", {}).get("version") or ""
    where = [
        f"{cores} cores of {cpu}" if cores else f"{cpu}",
        *(["a virtual machine"] if environment.get("cpu", {}).get("virtual_machine") else []),
        f"Linux {kernel}",
        f"Python {python}{' built without PGO' if _plain_build(judged) else ''}",
        *(["a modified tree"] if environment.get("suite", {}).get("modified") else []),
    ]
    return f"{judged.workload.title}. {judged.started_at[:10]}, {', '.join(where)}"


def _plain_build(judged: Judged) -> bool:
    """Whether the interpreter is known to be built without profile-guided optimisation.

    An empty list says nothing: not every interpreter knows how it was configured.
    """
    flags = judged.environment.get("python", {}).get("optimisation")
    return isinstance(flags, list) and bool(flags) and "--enable-optimizations" not in flags


def remarks(judged: Judged) -> tuple[str, ...]:
    """What must be read with the numbers: limits first, then each row's reason and notes.

    What holds of several rows is said once for all of them.
    """
    shown = rows(judged)
    noted = dict.fromkeys((row.server, note) for row in judged.rows for note in row.notes)
    return (
        *judged.warnings,
        *_reasons(shown),
        *(said for told in _REMARKS if (said := told(shown))),
        *(f"{server}: {note}" for server, note in noted),
    )


def _reasons(shown: Sequence[Row]) -> list[str]:
    """Why rows failed, could not run or were gated, and how many of their blocks are good."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in shown:
        if row.reason:
            what = "gated" if row.status == "ok" else row.status
            good = f", {_good_blocks(row)} good" if row.status != "not run" else ""
            where = f"{people(row.clients)}, {row.load}, {what}{good}"
            alike.setdefault((where, row.reason), []).append(row.server)
    return [f"{', '.join(servers)}, {where}: {why}" for (where, why), servers in alike.items()]


def _good_blocks(row: Row) -> str:
    return f"{row.blocks} of {row.blocks_run} block{'s' * (row.blocks_run != 1)}"


def _listed(rows: Sequence[Row], what: Callable[[Row], str] = lambda row: "") -> str:
    """Rows by name, each with something more."""
    told = (f"{row.server} at {row.clients:,} ({row.load}) {what(row)}" for row in rows)
    return "; ".join(map(str.strip, told))


def _bracketed(shown: Sequence[Row]) -> str:
    found = [row for row in shown if not stands(row) and row.status != "not run"]
    return "in brackets: figures that are compared with nothing, as it failed or was gated" * bool(
        found
    )


def _partly_gated(shown: Sequence[Row]) -> str:
    found = [row for row in shown if stands(row) and row.blocks < row.blocks_run]
    return f"the other blocks were gated: {_listed(found, _good_blocks)}" if found else ""


def _starved(shown: Sequence[Row]) -> str:
    found = [row for row in shown if row.clients_without_echo and kind_of(row) in _LOOPS]
    told = "; ".join(
        f"{row.server} up to {row.clients_without_echo:,} of {row.clients:,} ({row.load})"
        for row in found
    )
    return f"clients without an echo for a whole slice, worst block: {told}" if found else ""


def _apart(shown: Sequence[Row]) -> str:
    found = [row for row in shown if row.outliers]

    def blocks(row: Row) -> str:
        return ", ".join(str(block + 1) for block in row.outliers)

    told = _listed(found, blocks)
    return f"blocks that stand apart, marked and not left out: {told}" if found else ""


def _unsettled(shown: Sequence[Row]) -> str:
    late = [row for row in shown if row.unsettled]
    trials = sum(row.unsettled for row in late)
    named = ", ".join(f"{row.server} at {row.clients:,}" for row in late)
    many = "s" * (trials > 1)
    return f"{trials} trial{many} had not settled when the slice began: {named}" if late else ""


def _at_ceiling(shown: Sequence[Row]) -> str:
    found = [row for row in shown if row.at_ceiling]
    told = _listed(found, lambda row: f"{row.at_ceiling} of its trials")
    return (
        f"slices as long as the workload allows, and shorter than 20 round trips: {told}"
        if found
        else ""
    )


def _uneven(shown: Sequence[Row]) -> str:
    found = [row for row in shown if _is_uneven(row)]
    return (
        "no p50 where clients were served unevenly (fairness below "
        f"{FAIR:g}), as the median message is then one of those who were served most: "
        f"{_listed(found)}"
        if found
        else ""
    )


def _is_uneven(row: Row) -> bool:
    return kind_of(row) == "closed" and row.fairness is not None and row.fairness.median < FAIR


def _untold(shown: Sequence[Row]) -> str:
    found = [
        row
        for row in shown
        if kind_of(row) == "open" and row.latency_p50_us and row.latency_p99_us is None
    ]
    return (
        "no p99, nor a comparison by it, where in some trial fewer than 10 intervals (or 100 "
        f"messages) lie beyond it; the longest stall says more there: {_listed(found)}"
        if found
        else ""
    )


def _waking(shown: Sequence[Row]) -> str:
    alone = any(row.clients == 1 and kind_of(row) == "closed" for row in shown)
    return (
        "1 client: with one message on its way both cores sleep between messages, so these rows "
        "measure how fast this machine wakes a core more than they measure servers"
        if alone
        else ""
    )


_REMARKS = (
    _bracketed, _partly_gated, _starved, _apart, _unsettled, _at_ceiling, _uneven, _untold, _waking,
)  # fmt: skip


def people(clients: int) -> str:
    """1 client, 10,000 clients."""
    return f"{clients:,} client{'s' * (clients != 1)}"


def footers(judged: Judged) -> tuple[str, ...]:
    """What stands under the table: the reference against itself, and the rule of its claims."""
    if not judged.noise:
        return ()
    said = [
        f"{people(floor.clients)}, {floor.load}: {ratio(floor.ratio)}" for floor in judged.noise
    ]
    return (
        f"Noise floor, {judged.reference} against itself ({judged.control}), an estimate from the "
        f"same blocks: {'; '.join(said)}. Ratios are to {judged.reference}, each interval at 95 % "
        "by itself; nothing within the noise floor is claimed.",
        "Verdicts and ranks of all loads of one kind are one family: with no true difference, at "
        "most one such table in twenty claims any (Holm; four fifths of that for the verdicts).",
    )


def ratio(value: Ratio | None) -> str:
    """A ratio with its 95 % interval; an end that a figure of 0 leaves open is 0 or ∞."""
    if value is None:
        return UNKNOWN
    low, high = value.low, value.high
    if low is None and high is None:
        return _times(value.median, 2)
    low, high = low or 0.0, math.inf if high is None else high
    digits = 3 if low and high / low < 1.1 else 2
    return f"{_times(value.median, digits)} ({_times(low, digits)} to {_times(high, digits)})"


def _times(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else f"{value:.{digits}f}" if value else "0"


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
            flat[key] = finite(to_builtins(list(value) if isinstance(value, tuple) else value))
    return flat


def finite(value: Any) -> Any:
    """Builtins without infinities, which JSON has no word for: null in their place."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def significant(value: float) -> str:
    """Three significant digits, thousands separated, no exponent above a thousandth."""
    rounded = float(f"{value:.3g}")
    size = abs(rounded)
    if size >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:.1f}" if size >= 10 else f"{rounded:.2f}" if size >= 1 else f"{rounded:g}"


_TITLES = {
    "closed": "Closed loop: a client sends its next message when the echo has come",
    "open": "Open loop: messages leave on a schedule that does not wait",
    "storm": "Storm: all clients connect at once; latency is to a client's first echo",
    "idle": "Idle: clients stay and say nothing, then echo once",
    "churn": "Churn: clients come and go, each says one message; latency is to its echo",
}
# kind → what its rows are sorted by, and the sign with which the best comes first
_BEST = {
    "closed": ("messages_per_s", -1),
    "open": ("latency_p99_us", 1),
    "storm": ("latency_p99_us", 1),
    "idle": ("memory_per_client_bytes", 1),
    "churn": ("messages_per_s", -1),
}
_LATENCIES = ("latency_p50_us", "latency_p99_us", "latency_p999_us", "longest_stall_s")
# Of a load whose client was the limit: what it did to which figure. A faster client would have
# brought more messages in less time, and so every rate up and every latency down; who is served
# unevenly by a busy client may be served evenly by the server. CPU time per message is no bound:
# a server that waits for its client wakes up for fewer messages at a time than at its own limit.
_SATURATED = (
    dict.fromkeys((*_LATENCIES, "longest_silence_s", "clients_without_echo"), "≤ ")
    | dict.fromkeys(("messages_per_s", "fairness", "slowest_share"), "≥ ")
    | dict.fromkeys(("server_cpu_us_per_message", "cpu_over_floor"), "~ ")
)
_BOUNDS = {
    "closed": _SATURATED,
    "churn": _SATURATED,
    "storm": _SATURATED | {"connect_s": "≤ "},
    "open": dict.fromkeys((*_LATENCIES, "stalls_per_s"), "≤ "),
    "idle": {},
}
_SPREADS = {name for name, kind in Row.__annotations__.items() if "Spread" in str(kind)}


def marked(row: Row, key: str, text: str) -> str:
    """A figure's text with the sign of a bound, in brackets where it is compared with nothing."""
    sign = _BOUNDS[kind_of(row)].get(key, "") if row.bound else ""
    text = text if (sign, text) == ("≤ ", "0") else sign + text  # nothing is less than none
    return text if stands(row) else f"({text})"


def figure(key: str, scale: float = 1.0, varied: bool = False) -> Callable[[Row], str]:
    """The text of a row's figure, varied: with half its range over the blocks."""

    def cell(row: Row) -> str:
        spread: Spread | None = getattr(row, key)
        if spread is None:
            return UNKNOWN
        text = significant(spread.median * scale)
        if varied and row.blocks > 1 and spread.median:
            half = (spread.greatest - spread.least) / 2 / abs(spread.median) * 100
            text += f" ±{half:.0f} %" if half >= 1 else f" ±{max(half, 0.1):.1f} %"
        return marked(row, key, text)

    return cell


def _without_echo(row: Row) -> str:
    return marked(row, "clients_without_echo", f"{row.clients_without_echo or 0:,}")


def _median_latency(row: Row) -> str:
    return UNKNOWN if _is_uneven(row) else figure("latency_p50_us", 1e-3)(row)


def _errors(row: Row) -> str:
    """Over all blocks, each failure once: who was not served is among the errors by its reason."""
    if row.served is None:
        return UNKNOWN
    unserved = row.unserved or 0
    others = max(sum(row.errors.values()) - unserved, 0)
    counts = (
        (unserved, "not served"), (row.lost, "lost"), (row.altered, "altered"), (others, "errors"),
    )  # fmt: skip
    return ", ".join(f"{count:,} {name}" for count, name in counts if count) or "0"


def _runs_on(row: Row) -> str:
    """The interpreter, the state of its lock where it is off, and the versions."""
    lock = " no GIL" if row.gil is False else ""
    versions = [f"{name} {version}" for name, version in row.versions.items()]
    return ", ".join([f"{row.python}{lock}", *versions]) if row.python else UNKNOWN


def _limiter(row: Row) -> str:
    if row.status == "not run":
        return row.status
    if row.status == "failed":
        failed = f"failed, {_good_blocks(row)}"
        return f"{failed}: {row.limiter}" if row.limiter else failed
    return "gated" if not row.blocks else row.limiter


def _of(kinds: tuple[str, ...], least: int, cell: Callable[[Row], str]) -> Callable[[Row], str]:
    """A cell that says something of some kinds of load only, from so many clients on."""
    return lambda row: cell(row) if kind_of(row) in kinds and row.clients >= least else UNKNOWN


def _held(key: str) -> Callable[[Row], str]:
    """A cell of the machine's memory, KiB a client; its noise drowns few clients."""
    cell = figure(key, 1 / 1024)
    return lambda row: cell(row) if row.clients >= HELD_FROM else UNKNOWN


def _rank(row: Row) -> str:
    """The best and the worst rank that the evidence leaves open; one number when it is one."""
    if row.rank is None:
        return UNKNOWN
    return str(row.rank) if row.rank_worst in (None, row.rank) else f"{row.rank}–{row.rank_worst}"


def _verdict(row: Row) -> str:
    if row.verdict is None:
        return UNKNOWN
    return _LEANER.get(row.verdict, row.verdict) if kind_of(row) == "idle" else row.verdict


_LEANER = {"faster": "less", "slower": "more"}  # of memory, which is what idle is about
_LOOPS, _COMING = ("closed", "open"), ("storm", "churn")

_COLUMNS = (
    Column("load", lambda row: row.load, right=False),
    Column("clients", lambda row: f"{row.clients:,}"),
    Column("rank", _rank, optional=True),
    Column("server", lambda row: row.server, right=False),
    Column("messages/s", figure("messages_per_s", varied=True), optional=True),
    Column("ratio", lambda row: ratio(row.ratio), right=False),
    Column("verdict", _verdict, right=False),
    Column("p50 ms", _median_latency),
    Column("p99 ms", figure("latency_p99_us", 1e-3)),
    Column("p99.9 ms", _of(("open",), 1, figure("latency_p999_us", 1e-3)), optional=True),
    Column("longest stall ms", _of(("open",), 1, figure("longest_stall_s", 1e3)), optional=True),
    Column("stalls/s", _of(("open",), 1, figure("stalls_per_s")), optional=True),
    Column("lag p99 µs", figure("schedule_lag_p99_us"), optional=True),
    # Of an open loop these four would say how the schedule fell, not how clients were served.
    Column("fairness", _of(("closed",), FAIR_FROM, figure("fairness")), optional=True),
    Column("slowest %", _of(("closed",), FAIR_FROM, figure("slowest_share", 100)), optional=True),
    Column("no echo, worst", _of(("closed",), FAIR_FROM, _without_echo), optional=True),
    Column("silence s", _of(("closed",), FAIR_FROM, figure("longest_silence_s")), optional=True),
    Column("retried", _of(_COMING, 1, figure("retried")), optional=True),
    Column("accept queue", _of(_COMING, 1, figure("accept_queue_max")), optional=True),
    Column("overflows", _of(_COMING, 1, figure("listen_overflows")), optional=True),
    Column("threads", _of(_COMING, 1, figure("threads_max")), optional=True),
    Column("CPU µs/message", figure("server_cpu_us_per_message"), optional=True),
    Column(
        "× floor",
        lambda row: (
            UNKNOWN
            if row.cpu_over_floor is None
            else marked(row, "cpu_over_floor", f"{row.cpu_over_floor:.1f}")
        ),
        optional=True,
    ),
    Column("KiB/client", _held("memory_per_client_bytes"), optional=True),
    Column("own KiB/client", figure("own_memory_per_client_bytes", 1 / 1024), optional=True),
    Column("loaded KiB/client", _held("loaded_memory_per_client_bytes"), optional=True),
    Column("connect s", figure("connect_s")),
    Column("errors", _errors),
    Column("limiter", lambda row: _limiter(row), right=False),
    Column("runs on", lambda row: _runs_on(row), right=False),
    Column("starts within ms", figure("start_spread_s", 1e3), optional=True),
    Column("server ← clients", lambda row: row.hosts or UNKNOWN, right=False, optional=True),
)


def _column(title: str) -> Column | None:
    """The column whose title begins so; None for no title. Raises ViewError."""
    found = [each for each in _COLUMNS if title and each.title.lower().startswith(title.lower())]
    if title and not found:
        raise ViewError(
            f"no column is named {title!r}; there are {', '.join(each.title for each in _COLUMNS)}"
        )
    return found[0] if found else None


def _loads(judged: Judged, kind: str, title: str, view: View) -> Table:
    """Every server under every load of a kind."""
    shown = columns(judged, kind)
    if view.columns:
        wanted = [_column(word) for word in ("server", "clients", *view.columns)]
        shown = tuple(column for column in shown if column in wanted)
    lines = [row for row in rows(judged) if kind_of(row) == kind]
    by_server = view.group == "server"

    def group(row: Row) -> str:
        return row.server if by_server else f"{row.load} {row.clients}"

    if by_server:
        lines.sort(key=lambda row: row.server)  # stable: by load and count within
    if by := _column(view.sort):
        places = list(dict.fromkeys(map(group, lines)))
        lines.sort(key=lambda row: (places.index(group(row)), -_magnitude(by.cell(row))))
    return Table(
        title,
        tuple((column.title, column.right) for column in shown),
        tuple(
            Line(
                tuple(column.cell(row) for column in shown),
                group(row),
                row.status if row.blocks or row.status != "ok" else "gated",
            )
            for row in lines
        ),
    )


def _magnitude(cell: str) -> float:
    """The first number of a cell; what has none comes last."""
    match = re.search(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?", cell)
    return float(match[0].replace(",", "")) if match else float("-inf")


def _ladder(judged: Judged) -> Table:
    """messages/s over the client counts, a line a server, with its shape."""
    closed = [row for row in rows(judged) if kind_of(row) == "closed" and row.messages_per_s]
    labels = list(dict.fromkeys(row.load for row in closed))
    counts = sorted({row.clients for row in closed})
    if len(counts) < 3 or len(labels) != 1:
        return Table("", (), ())
    found: dict[str, dict[int, Row]] = {}
    for row in closed:
        found.setdefault(row.server, {})[row.clients] = row
    best = max(row.messages_per_s.median for row in closed if row.messages_per_s) or 1.0
    rate = figure("messages_per_s")
    lines = []
    for server, by_count in found.items():
        rates = [
            by_count[n].messages_per_s.median / best  # type: ignore[union-attr]
            if n in by_count
            else 0.0
            for n in counts
        ]
        cells = [rate(by_count[n]) if n in by_count else UNKNOWN for n in counts]
        lines.append(Line((server, "".join(map(_block, rates)), *cells)))
    headings = [("server", False), ("shape", False), *((f"{n:,}", True) for n in counts)]
    return Table(
        f"The ladder: messages/s over the clients, {labels[0]}", tuple(headings), tuple(lines)
    )


def _block(share: float) -> str:
    """An eighth of a column for each eighth of the greatest."""
    return "▁▂▃▄▅▆▇█"[max(0, min(7, int(share * 8)))]


def _memory(found: Sequence[MemoryRow]) -> Table:
    """Slopes over the client counts, the leanest server first."""

    def parts(row: MemoryRow) -> tuple[Slope | None, ...]:
        return (
            row.total,
            row.pss,
            row.kernel_stacks,
            row.page_tables,
            row.slab,
            row.sockets,
        )

    headings = ("all", "own", "kernel stacks", "page tables", "slab", "socket buffers")
    return Table(
        "Memory that a client takes while it does nothing, KiB: slopes over the client counts. "
        "Kernel stacks, slab (the kernel's objects) and socket buffers are told for the whole "
        "machine, the clients' side with it",
        (("server", False), *((name, True) for name in headings), ("threads", True)),
        tuple(
            Line(
                (
                    row.server,
                    *(_slope(each, 1 / 1024) for each in parts(row)),
                    UNKNOWN if row.threads is None else f"{row.threads.per_client:.2f}",
                )
            )
            for row in sorted(found, key=lambda row: (row.total or row.pss).per_client)
        ),
    )


def _slope(found: Slope | None, scale: float) -> str:
    if found is None:
        return UNKNOWN
    text = f"{found.per_client * scale:.2f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({found.low * scale:.2f} to {found.high * scale:.2f})"


def _breaking(found: Sequence[BreakingPoint]) -> Table:
    """How far each server goes, the farthest first."""

    def count(value: int | None) -> str:
        return UNKNOWN if value is None else f"{value:,}"

    return Table(
        "Breaking point: the highest client count that met the service level",
        (
            ("server", False),
            ("holds", True),
            ("p99 ms there", True),
            ("fails at", True),
            ("served there", True),
            ("what broke first", False),
            ("why", False),
        ),
        tuple(
            Line(
                (
                    point.server,
                    ("≥ " if point.fails is None and point.holds else "") + count(point.holds),
                    UNKNOWN if point.p99_us is None else significant(point.p99_us / 1000),
                    count(point.fails),
                    count(point.served),
                    point.broke or UNKNOWN,
                    point.reason or UNKNOWN,
                )
            )
            for point in sorted(found, key=lambda point: (-(point.holds or 0), point.server))
        ),
    )


_Cell = Callable[[Compared], str]


def comparison(found: Comparison) -> tuple[Table, ...]:
    """Two sides with ratios and verdicts, a table a load; most fit 100 columns."""
    pair = f"{found.b} / {found.a}"
    tables = []
    for label in dict.fromkeys(row.load for row in found.rows):
        rows = [row for row in found.rows if row.load == label]
        figures = list(dict.fromkeys(row.figure for row in rows))
        columns: list[tuple[str, bool, _Cell]] = [("clients", True, _clients)]
        if any(row.server != pair for row in rows):
            columns.append(("server", False, lambda row: row.server))
        if len(figures) > 1:
            columns.append(("figure", False, lambda row: figure_name(row.figure)))
        columns += [("A", True, _cell_a), ("B", True, _cell_b), *_VERDICT]
        alone = f", {figure_name(figures[0])}" if len(figures) == 1 else ""
        tables.append(_table(f"{label}{alone}", columns, rows))
    return tuple(tables)


def compared(found: Comparison) -> Table:
    """The same for programs: one table with all columns, and the reasons."""
    figures = len({row.figure for row in found.rows}) > 1
    columns: list[tuple[str, bool, _Cell]] = [
        ("load", False, lambda row: row.load),
        ("clients", True, _clients),
        ("server", False, lambda row: row.server),
        *([("figure", False, lambda row: figure_name(row.figure))] if figures else []),
        (found.a, True, _cell_a),
        (found.b, True, _cell_b),
        *_VERDICT,
        ("reason", False, lambda row: row.reason),
    ]
    return _table("", columns, found.rows)


def _table(
    title: str, columns: Sequence[tuple[str, bool, _Cell]], rows: Sequence[Compared]
) -> Table:
    lines = [
        Line(
            tuple(cell(row) for *_, cell in columns),
            str(row.clients),
            "failed" if row.verdict == "broken" else "ok",
        )
        for row in rows
    ]
    return Table(title, tuple((name, right) for name, right, _ in columns), tuple(lines))


def _clients(row: Compared) -> str:
    return f"{row.clients:,}"


def _cell_a(row: Compared) -> str:
    return _median(row.a, row.figure, row.a_bound)


def _cell_b(row: Compared) -> str:
    return _median(row.b, row.figure, row.b_bound)


def _median(spread: Spread | None, figure: str, bound: bool) -> str:
    if spread is None:
        return UNKNOWN
    mark = ("≥ " if figure == "messages_per_s" else "≤ ") if bound else ""
    return mark + significant(spread.median * _SCALES.get(figure, 1.0))


_VERDICT: tuple[tuple[str, bool, _Cell], ...] = (
    ("ratio", False, lambda row: ratio(row.ratio)),
    ("verdict", False, lambda row: row.verdict),
)


def sides(found: Comparison) -> str:
    """What stands over the tables of a comparison."""
    return f"A: {found.a}. B: {found.b}. Medians over the blocks; the ratio is B's over A's"


def reasons(found: Comparison) -> tuple[str, ...]:
    """What stands under the table: why rows are broken, or have no verdict.

    Rows of the same reason are one line, but for those that broke: each of these is named.
    """
    alike: dict[str, list[Compared]] = {}
    for row in found.rows:
        if row.reason and row.reason not in found.warnings:
            alike.setdefault(f"{row.verdict}: {row.reason}", []).append(row)
    said = []
    for rows in alike.values():
        if rows[0].verdict == "broken" or len(rows) == 1:
            said += [f"{row.verdict}: {named(row)}: {row.reason}" for row in rows]
        else:
            said.append(f"{rows[0].verdict} ({len(rows)} rows): {rows[0].reason}")
    return tuple(said)


def sentences(failed: Sequence[Compared], untold: Sequence[Compared]) -> tuple[str, ...]:
    """What --fail-on says: each row that fails, and those that cannot be judged."""
    said = []
    for row in failed:
        if row.verdict == "broken":
            said.append(f"broken: {named(row)}: {row.reason}")
        else:
            measured = "from nothing" if row.ratio is None else ratio(row.ratio)
            said.append(f"worse than allowed: {named(row)}: {figure_name(row.figure)} {measured}")
    alike: dict[str, list[Compared]] = {}
    for row in untold:
        open_ = f"{figure_name(row.figure)} {ratio(row.ratio)} may be worse than allowed"
        alike.setdefault(row.reason or f"{named(row)}: {open_}", []).append(row)
    for reason, rows in alike.items():
        where = "" if not rows[0].reason else f"{named(rows[0])}: "
        where = f"{len(rows)} rows: " if len(rows) > 1 else where
        said.append(f"cannot be told: {where}{reason}")
    return tuple(said)


def named(row: Compared) -> str:
    """A row of a comparison in words: its server, its clients and its load."""
    return f"{row.server}, {people(row.clients)}, {row.load}"


def figure_name(figure: str) -> str:
    """A figure as headings have it."""
    return _FIGURE_NAMES.get(figure, figure)


_FIGURE_NAMES = {
    "messages_per_s": "messages/s",
    "latency_p50_us": "p50 ms",
    "latency_p99_us": "p99 ms",
    "server_cpu_us_per_message": "CPU µs/message",
    "memory_per_client_bytes": "KiB/client",
    "breaking_point": "clients held",
}
_SCALES = {"latency_p50_us": 1e-3, "latency_p99_us": 1e-3, "memory_per_client_bytes": 1 / 1024}
