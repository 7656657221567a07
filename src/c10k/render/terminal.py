"""Judged → a table for a terminal (rich), limits before numbers."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..model import Judged
from . import table

LEAST_WIDTH = 104  # the table needs as much; a narrower terminal wraps it
_FOLDED = ("errors",)


def render(judged: Judged) -> RenderableType:
    """The table with its heading above and its remarks beside it."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for column in table.columns(judged):
        grid.add_column(
            Text(column.title.replace("/", "\n/").replace(" ", "\n")),
            justify="right" if column.right else "left",
            no_wrap=column.title not in _FOLDED,
        )
    previous = None
    for row, cells in zip(table.rows(judged), table.cells(judged), strict=True):
        group = (row.load, row.clients)
        if previous not in (None, group):
            grid.add_section()
        previous = group
        style = "" if row.status == "ok" else "red" if row.status == "failed" else "dim"
        # Text, not markup: a server's name cannot colour or link anything
        grid.add_row(*map(Text, cells), style=style)
    lines = [Text(table.heading(judged), style="bold")]
    lines += [Text(f"! {remark}", style="yellow") for remark in table.remarks(judged)]
    return Group(*lines, grid)
