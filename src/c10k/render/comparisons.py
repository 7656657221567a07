"""The tables of a comparison, and the sentences around them."""

from collections.abc import Callable, Sequence

from ..model import Compared, Comparison, Spread
from .numbers import SHOWN, UNKNOWN, client_count, ratio, scaled
from .table import Line, Table

_Cell = Callable[[Compared], str]


def comparison(found: Comparison) -> tuple[Table, ...]:
    """Two sides with ratios and verdicts, one table per load; most fit 100 columns."""
    pair = f"{found.b} / {found.a}"
    tables = []
    for label in dict.fromkeys(row.load.label for row in found.rows):
        rows = [row for row in found.rows if row.load.label == label]
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
    """The comparison for programs: one table of all loads, with the reasons in a column."""
    figures = len({row.figure for row in found.rows}) > 1
    columns: list[tuple[str, bool, _Cell]] = [
        ("load", False, lambda row: row.load.label),
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
    return mark + scaled(figure, spread.median)


_VERDICT: tuple[tuple[str, bool, _Cell], ...] = (
    ("ratio", False, lambda row: ratio(row.ratio)),
    ("verdict", False, lambda row: row.verdict),
)


def sides(found: Comparison) -> str:
    """The line above the tables of a comparison: which side is which."""
    return f"A: {found.a}. B: {found.b}. Medians over the blocks; the ratio is B's over A's"


def reasons(found: Comparison) -> tuple[str, ...]:
    """The lines under the tables: why rows are broken, or have no verdict.

    Rows with the same reason share a line; each broken row has its own.
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
    """The lines of --fail-on: each row that fails, then the rows that cannot be judged."""
    said = []
    for row in failed:
        if row.verdict == "broken":
            said.append(f"broken: {named(row)}: {row.reason}")
        else:
            measured = "rose from 0" if row.ratio is None else ratio(row.ratio)
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
    """A row of a comparison in words: server, clients and load."""
    return f"{row.server}, {client_count(row.clients)}, {row.load.label}"


def figure_name(figure: str) -> str:
    """A figure's name as column headings show it."""
    return SHOWN[figure].heading if figure in SHOWN else figure
