"""Judged → a table for a terminal (rich), limits before numbers."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..model import Judged
from . import table


def render(judged: Judged) -> RenderableType:
    """The heading and the remarks, the table, and the noise floor below it."""
    lines = [Text(table.heading(judged), style="bold")]
    lines += [Text(f"! {remark}", style="yellow") for remark in table.remarks(judged)]
    return Group(*lines, _grid(judged), *map(Text, table.footers(judged)))


def width(judged: Judged) -> int:
    """Columns that the table needs; a narrower terminal wraps its lines."""
    return Console(width=1000).measure(_grid(judged)).maximum


def _grid(judged: Judged) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for column in table.columns(judged):
        title = Text(column.title.replace("/", "\n/").replace(" ", "\n"))
        grid.add_column(title, justify="right" if column.right else "left", no_wrap=True)
    previous = None
    for row, cells in zip(table.rows(judged), table.cells(judged), strict=True):
        group = (row.load, row.clients)
        if previous not in (None, group):
            grid.add_section()
        previous = group
        style = "" if row.status == "ok" else "red" if row.status == "failed" else "dim"
        # Text, not markup: a server's name cannot colour or link anything
        grid.add_row(*map(Text, cells), style=style)
    return grid
