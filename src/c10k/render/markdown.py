"""Judged → Markdown: cells are escaped, and limits come before numbers."""

import re
from collections.abc import Sequence

from tabulate import tabulate

from ..model import Comparison, Judged
from ..text import plain
from . import comparisons, sentences, table


def render(judged: Judged, view: table.View | None = None) -> str:
    """The heading, the remarks, the tables, and the noise floor below them."""
    remarks = "".join(f"- {escape(remark)}\n" for remark in sentences.remarks(judged))
    parts = [f"{escape(sentences.heading(judged))}.\n", remarks]
    for each in table.tables(judged, view):
        parts += [f"{escape(each.title)}.\n"] if each.title else []
        parts.append(grid(each))
    parts += [f"{escape(footer)}\n" for footer in sentences.footers(judged)]
    return "\n".join(part for part in parts if part)


def compared(found: Comparison, remarks: Sequence[str]) -> str:
    """The remarks, which side is which, one table per load, and the reasons below them."""
    parts = [
        "".join(f"- {escape(each)}\n" for each in remarks),
        f"{escape(comparisons.sides(found))}.\n",
    ]
    for each in comparisons.comparison(found):
        parts += [f"{escape(each.title)}.\n", grid(each)]
    parts.append("".join(f"- {escape(each)}\n" for each in comparisons.reasons(found)))
    return "\n".join(part for part in parts if part)


def grid(shown: table.Table) -> str:
    grid = tabulate(
        [[escape(cell) for cell in line.cells] for line in shown.lines],
        headers=[escape(title) for title, _ in shown.headings],
        tablefmt="pipe",
        colalign=["right" if right else "left" for _, right in shown.headings],
        disable_numparse=True,
    )
    return f"{grid}\n"


def escape(text: str) -> str:
    """Text that Markdown shows literally, also within a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", " ".join(plain(text).split()))
