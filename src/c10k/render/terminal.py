"""Judged → tables for a terminal (rich); limits come before numbers."""

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..model import Comparison, Judged
from ..text import plain
from . import comparisons, sentences, table


def render(judged: Judged, view: table.View | None = None) -> RenderableType:
    """The heading and the remarks, the tables, and the noise floor below them."""
    lines: list[RenderableType] = [Text(plain(sentences.heading(judged)), style="bold")]
    lines += [Text(f"! {plain(remark)}", style="yellow") for remark in sentences.remarks(judged)]
    for each in table.tables(judged, view):
        lines += [Text(f"\n{plain(each.title)}", style="bold")] if each.title else []
        lines.append(grid(each))
    return Group(*lines, *(Text(plain(line)) for line in sentences.footers(judged)))


def compared(found: Comparison, remarks: Sequence[str]) -> RenderableType:
    """The remarks, which side is which, one table per load, and the reasons below them."""
    lines: list[RenderableType] = [Text(f"! {plain(each)}", style="yellow") for each in remarks]
    lines.append(Text(plain(comparisons.sides(found)), style="bold"))
    for each in comparisons.comparison(found):
        lines += [Text(f"\n{plain(each.title)}", style="bold"), grid(each)]
    return Group(*lines, *(Text(plain(line)) for line in comparisons.reasons(found)))


def widest(tables: Sequence[table.Table]) -> int:
    """How many terminal columns the widest of these tables needs."""
    console = Console(width=1000)
    return max((console.measure(grid(each)).maximum for each in tables), default=80)


def width(judged: Judged, view: table.View | None = None) -> int:
    """How many terminal columns the tables need; a narrower terminal wraps their lines."""
    return widest(table.tables(judged, view))


def grid(shown: table.Table) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for title, right in shown.headings:
        text = Text(plain(title).replace("/", "\n/").replace(" ", "\n"))
        grid.add_column(text, justify="right" if right else "left", no_wrap=True)
    previous = None
    for line in shown.lines:
        if previous not in (None, line.group):
            grid.add_section()
        previous = line.group
        style = "" if line.status == "ok" else "red" if line.status == "failed" else "dim"
        # Text, not markup: a server's name cannot colour or link anything
        grid.add_row(*(Text(plain(cell)) for cell in line.cells), style=style)
    return grid
