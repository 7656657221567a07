"""The tables of a session, built once for every format.

A cell's ± is half the range over the blocks as a share of the median; with one block it is
left out. ≥ and ≤ mark a figure that the client bounded. ~ marks one that would be different at
the server's own limit. Figures in brackets are shown but not compared: the server failed, or
every trial was gated.
"""

import math
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from ..model import KINDS, BreakingPoint, Judged, Kind, Load, MemoryRow, Row, Slope
from .columns import Column, at_share, bound_of, column_titled, columns, figure, latency_ms, rows
from .numbers import SHOWN, UNKNOWN, client_count, ratio, significant


class Line(Struct, frozen=True):
    """One line of a table; lines of the same group are shown together."""

    cells: tuple[str, ...]
    group: str = ""
    status: str = "ok"


class Table(Struct, frozen=True):
    """Headings, each with whether its column is right-aligned, and lines."""

    title: str
    headings: tuple[tuple[str, bool], ...]
    lines: tuple[Line, ...]


class View(Struct, frozen=True):
    """How the loads' tables are shown. Columns are given by the start of a title, in any case."""

    sort: str = ""  # by this column, the greatest figure first
    columns: tuple[str, ...] = ()  # these only
    group: Literal["load", "server"] = "load"


def tables(judged: Judged, view: View | None = None) -> tuple[Table, ...]:
    """A session's tables: one for each kind of load, then those of what its rows also have.

    Raises ViewError.
    """
    view = view or View()
    kinds = list(dict.fromkeys(row.load.kind for row in rows(judged)))
    column_titled(view.sort)
    for title in view.columns:
        column_titled(title)
    found = [
        _loads(judged, kind, _title(judged, kind) if len(kinds) > 1 else "", view) for kind in kinds
    ]
    found += [_by_request(judged), _ladder(judged), _over_load(judged), *by_interpreter(judged)]
    found += [_spread(judged), _memory(judged.memory), _breaking(judged.breaking)]
    return tuple(table for table in found if table.lines)


def _title(judged: Judged, kind: Kind) -> str:
    """What the load is, and of which a latency is, where that includes a handshake."""
    facts = KINDS[kind]
    return facts.title + (", TLS handshake included" if judged.tls and facts.clients_arrive else "")


def _loads(judged: Judged, kind: Kind, title: str, view: View) -> Table:
    """The table of every server under every load of one kind."""
    shown = columns(judged, kind)
    if view.columns:
        wanted = [column_titled(word) for word in ("server", "clients", *view.columns)]
        shown = tuple(column for column in shown if column in wanted)
    lines = [row for row in rows(judged) if row.load.kind == kind]
    by_server = view.group == "server"

    def group(row: Row) -> str:
        return row.server if by_server else f"{row.load.label} {row.clients}"

    if by_server:
        lines.sort(key=lambda row: row.server)  # stable: by load and count within
    if by := column_titled(view.sort):
        places = list(dict.fromkeys(map(group, lines)))
        lines.sort(key=lambda row: (places.index(group(row)), _descending(by, row)))
    return Table(
        title,
        tuple((column.title, column.right) for column in shown),
        tuple(
            Line(
                tuple(column.cell(row) for column in shown),
                group(row),
                _status(row),
            )
            for row in lines
        ),
    )


def _status(row: Row) -> str:
    return row.status if row.blocks or row.status != "ok" else "gated"


def _by_request(judged: Judged) -> Table:
    """The latencies of each request of every mix: whether one kind makes the others wait."""
    headings = ("clients", "server", "request", "requests", "p50 ms", "p90 ms", "p99 ms")
    shown = [row for row in rows(judged) if row.by_request]
    return Table(
        "By kind of request: latency from the intended send",
        (("load", False), *((name, name not in ("server", "request")) for name in headings)),
        tuple(
            Line(
                (
                    row.load.label,
                    f"{row.clients:,}",
                    row.server,
                    each.request,
                    f"{each.messages:,}",
                    latency_ms(row, each.latency_p50_us),
                    latency_ms(row, each.latency_p90_us),
                    latency_ms(row, each.latency_p99_us),
                ),
                f"{row.load.label} {row.clients}",
                row.status if row.blocks or row.status != "ok" else "gated",
            )
            for row in shown
            for each in row.by_request
        ),
    )


def _descending(column: Column, row: Row) -> float:
    """A sort key: the greatest first, cells without a number last."""
    value = column.value(row)
    return math.inf if value is None else -value


def _ladder(judged: Judged) -> Table:
    """messages/s over the client counts, one line per server, with its shape as a sparkline."""
    closed = [row for row in rows(judged) if row.load.facts.closed_loop and row.messages_per_s]
    labels = list(dict.fromkeys(row.load.label for row in closed))
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


def _over_load(judged: Judged) -> Table:
    """Latency at shares of each server's own capacity."""
    figures = ("latency_p50_us", "latency_p99_us", "longest_stall_s", "server_cpu_us_per_message")
    return Table(
        "Latency at shares of each server's own capacity. × ideal: p99 over that of a queue in "
        "which each message takes what the server's CPU takes for one",
        (
            ("clients", True),
            ("server", False),
            ("of capacity", True),
            *((SHOWN[key].heading, True) for key in figures),
            ("× ideal", True),
        ),
        tuple(
            Line(
                (
                    f"{row.clients:,}",
                    row.server,
                    f"{point.share:.0%}",
                    *(at_share(point, key) for key in (*figures, "over_ideal")),
                ),
                f"{row.clients} {row.server}",
            )
            for row in rows(judged)
            for point in row.over_load
        ),
    )


def by_interpreter(judged: Judged) -> list[Table]:
    """A table for each load: a server per line, the figures on each interpreter side by side."""
    shown = [row for row in rows(judged) if row.interpreter and row.server != judged.control]
    labels = list(dict.fromkeys(row.interpreter for row in judged.rows if row.interpreter))
    if len(labels) < 2:
        return []
    loads = list(dict.fromkeys(row.load for row in shown))
    return [_side_by_side(load, labels, [r for r in shown if r.load == load]) for load in loads]


def _side_by_side(load: Load, labels: Sequence[str], shown: Sequence[Row]) -> Table:
    cells = {(row.contender, row.interpreter): row for row in shown}
    keys = [key for key in (load.facts.primary, load.facts.secondary) if key]
    lines = []
    for contender in dict.fromkeys(row.contender for row in shown):
        on = [cells.get((contender, label)) for label in labels]
        figures = [_on(row, key) for row in on for key in keys]
        lines.append(Line((contender, *figures, _without_lock([row for row in on if row]))))
    headings = [(f"{label} {SHOWN[key].heading}", True) for label in labels for key in keys]
    return Table(
        f"By interpreter: {load.label}, {client_count(load.clients)}",
        (("server", False), *headings, ("without the lock", False)),
        tuple(lines),
    )


def _without_lock(on: Sequence[Row]) -> str:
    """The ratio without the lock to with it; a sign where one of the two figures is a bound."""
    by_name = {row.server: row for row in on}
    for row in on:
        if row.without_lock and (other := by_name.get(row.with_lock)):
            signs = [bound_of(each, row.load.facts.primary) for each in (row, other)]
            turned = {"≥ ": "≤ ", "≤ ": "≥ "}.get(signs[1], signs[1])
            sign = "~ " if all(signs) else signs[0] or turned
            return sign + ratio(row.without_lock)
    return UNKNOWN


def _on(row: Row | None, key: str) -> str:
    """A figure on one interpreter; the status where it has none."""
    if row is None:
        return UNKNOWN
    shown = figure(key)(row)
    return row.status if shown == UNKNOWN and row.status != "ok" else shown


def _block(share: float) -> str:
    """A block character whose height is this share of the greatest rate, in eighths."""
    return "▁▂▃▄▅▆▇█"[max(0, min(7, int(share * 8)))]


def _spread(judged: Judged) -> Table:
    """How clients and work fell on the processes or threads of each server that has several."""
    shown = [(row, row.workers.median) for row in rows(judged) if row.workers]
    keys = (
        "worker_clients_most",
        "worker_clients_fairness",
        "worker_cpu_most",
        "worker_cpu_fairness",
    )
    headings = ("even %", *(SHOWN[key].heading for key in keys))
    return Table(
        "Spread: how clients and CPU time fell on a server's processes or threads. The share of "
        "the one that has most, and Jain's index over all (1: even)",
        (
            ("load", False),
            ("clients", True),
            ("server", False),
            ("workers", True),
            *((name, True) for name in headings),
        ),
        tuple(
            Line(
                (
                    row.load.label,
                    f"{row.clients:,}",
                    row.server,
                    f"{workers:g}",
                    significant(100 / workers),
                    *(figure(key)(row) for key in keys),
                ),
                f"{row.load.label} {row.clients}",
                _status(row),
            )
            for row, workers in shown
        ),
    )


def _memory(found: Sequence[MemoryRow]) -> Table:
    """Memory slopes over the client counts, the server that takes least first."""

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
        "Memory per idle client, KiB: slopes over the client counts. Kernel stacks, slab (the "
        "kernel's objects) and socket buffers are those of the whole machine, the clients' side "
        "included",
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
    """How many clients each server holds, the most first."""

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
