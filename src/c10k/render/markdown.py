"""Judged → Markdown that renders right: cells are escaped, limits stand before numbers."""

import re

from tabulate import tabulate

from ..model import Judged
from . import table


def render(judged: Judged) -> str:
    """The heading, the remarks, the table, and the noise floor below it."""
    shown = table.columns(judged)
    grid = tabulate(
        [[escape(cell) for cell in cells] for cells in table.cells(judged)],
        headers=[escape(column.title) for column in shown],
        tablefmt="pipe",
        colalign=["right" if column.right else "left" for column in shown],
        disable_numparse=True,
    )
    remarks = "".join(f"- {escape(remark)}\n" for remark in table.remarks(judged))
    gap = "\n" if remarks else ""
    footers = "".join(f"\n{escape(footer)}\n" for footer in table.footers(judged))
    return f"{escape(table.heading(judged))}.\n\n{remarks}{gap}{grid}\n{footers}"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, also within a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))
