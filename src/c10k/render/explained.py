"""What c10k explain counted → a table, sentences, a page. Pure.

The page holds the flame graphs as data, so it is one file that asks nobody for anything.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from msgspec import Struct, to_builtins

from ..model import Count, Counted, Explained
from ..text import plain
from .numbers import UNKNOWN, significant
from .table import Line, Table

MOST_SENTENCES = 4  # about system calls
LEAST = 0.005  # calls per message; a smaller difference has no sentence
CLEARLY = 1.1  # nor has one that is less than this many times the other


class Pair(Struct, frozen=True):
    """One count of each server, in the order of the servers; None where it was not counted."""

    name: str
    kind: Counted
    per_message: tuple[float | None, ...]
    by: str

    @property
    def difference(self) -> float | None:
        """How much more the first of two servers has; None where one of them is not known."""
        if len(self.per_message) != 2:
            return None
        a, b = self.per_message
        return None if a is None or b is None else a - b


def pairs(found: Sequence[Explained]) -> list[Pair]:
    """System calls, the most frequent first; then switches; then the core's events."""
    names = list(dict.fromkeys((each.kind, each.name) for one in found for each in one.counts))
    made = [_pair(found, kind, name) for kind, name in names]
    order = ("call", "switch", "event")

    def place(pair: Pair) -> tuple[int, float]:
        most = max((value or 0.0 for value in pair.per_message), default=0.0)
        return order.index(pair.kind), -most if pair.kind == "call" else 0.0

    return sorted(made, key=place)


def _pair(found: Sequence[Explained], kind: Counted, name: str) -> Pair:
    counts = [_count(one, kind, name) for one in found]
    by = dict.fromkeys(each.by for each in counts if each and each.by)
    values = tuple(each.per_message if each else None for each in counts)
    return Pair(name, kind, values, ", ".join(by))


def _count(one: Explained, kind: Counted, name: str) -> Count | None:
    """A server's count; zero for a call that it does not make, None if calls were not counted."""
    of_kind = [each for each in one.counts if each.kind == kind]
    never = Count(name, kind, 0.0, "") if kind == "call" and of_kind else None
    return next((each for each in of_kind if each.name == name), never)


def table(found: Sequence[Explained]) -> Table:
    """A row for each count, a column for each server, and the difference of two."""
    two = len(found) == 2
    headings = [("for each message", False), *((one.server, True) for one in found)]
    headings += [("difference", True)] * two + [("counted by", False)]
    lines = []
    for pair in pairs(found):
        cells = [pair.name, *(_shown(value) for value in pair.per_message)]
        cells += [_signed(pair.difference)] * two + [pair.by]
        lines.append(Line(tuple(cells), pair.kind))
    return Table("", tuple(headings), tuple(lines))


def _shown(value: float | None) -> str:
    return UNKNOWN if value is None else significant(value)


def _signed(value: float | None) -> str:
    return ("+" if value and value > 0 else "") + _shown(value)


def sentences(found: Sequence[Explained]) -> list[str]:
    """The greatest differences between two servers, one sentence each; none for one server."""
    if len(found) != 2:
        return []
    names = [one.server for one in found]
    made = pairs(found)
    calls = [pair for pair in made if pair.kind == "call" and _is_clear(pair)]
    calls.sort(key=lambda pair: -abs(pair.difference or 0.0))
    told = [_sentence(names, pair) for pair in calls[:MOST_SENTENCES]]
    # Who is made to leave its core, and how often, depends on what else runs.
    others = [pair for pair in made if pair.kind != "call" and pair.name[:3] != "inv"]
    told += [_sentence(names, pair) for pair in others if _is_clear(pair)]
    if not calls and any(pair.kind == "call" and pair.difference is not None for pair in made):
        told.insert(0, "Both make the same system calls for each message, or nearly so.")
    return told


def _is_clear(pair: Pair) -> bool:
    if pair.difference is None:
        return False
    less, more = sorted(value or 0.0 for value in pair.per_message)
    return abs(pair.difference) >= LEAST and more >= CLEARLY * less


def _sentence(names: Sequence[str], pair: Pair) -> str:
    """The server that has more of it comes first."""
    (more, first), (less, second) = sorted(
        ((value or 0.0, name) for value, name in zip(pair.per_message, names, strict=True)),
        key=lambda each: -each[0],
    )
    if pair.kind == "event":
        return (
            f"{first} takes {significant(more)} {pair.name} for each message, "
            f"{second} {significant(less)}."
        )
    what = f"{pair.name} calls" if pair.kind == "call" else pair.name
    fewer = significant(100 * less) if less else "none"
    return f"{first} makes {significant(100 * more)} {what} for 100 messages, {second} {fewer}."


def footnotes(found: Sequence[Explained]) -> list[str]:
    """How many messages the counts are divided by, and what strace has changed."""
    told = [
        f"{one.server}: counted over "
        + ", ".join(f"{count:,} messages ({by})" for by, count in one.messages.items())
        for one in found
        if one.messages
    ]
    if any(each.kind == "call" and each.by == "strace" for one in found for each in one.counts):
        told.append(
            "strace slows a server, so it waits more or less often than usual: epoll_wait, futex "
            "and other waits that strace has counted may be far from what they are without it"
        )
    return told


def left_out(found: Sequence[Explained]) -> list[str]:
    """What could not be counted, each once, with the servers that it is true of."""
    reasons = dict.fromkeys(reason for one in found for reason in one.left_out)
    return [
        f"{', '.join(one.server for one in found if reason in one.left_out)}: {reason}"
        for reason in reasons
    ]


def as_dict(found: Sequence[Explained], clients: int) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "clients": clients,
        "servers": [one.server for one in found],
        "counts": list(map(_pair_as_dict, pairs(found))),
        "sentences": sentences(found),
        "messages": {one.server: one.messages for one in found},
        "left_out": left_out(found),
        "flame_graphs": {one.server: one.flame for one in found if one.flame},
    }


def _pair_as_dict(pair: Pair) -> dict[str, Any]:
    found = {**to_builtins(pair), "difference": pair.difference}
    return {**found, "per_message": list(pair.per_message)}


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; frame-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem; }}
td, th {{ padding: 0.1rem 0.8rem; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }}
section {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ flex: 1 1 30rem; margin: 0; }}
iframe {{ width: 100%; height: 80vh; border: 1px solid #999; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def page(found: Sequence[Explained], clients: int, pictures: Mapping[str, bytes]) -> str:
    """The table, the sentences and the flame graphs side by side. pictures: SVGs by server."""
    title = _text(f"{' and '.join(one.server for one in found)}, {clients:,} clients")
    shown = table(found)
    body = [f"<p>{_text(line)}</p>" for line in sentences(found)]
    body.append("<table>")
    body.append(_row("th", [heading for heading, _ in shown.headings]))
    body += [_row("td", line.cells) for line in shown.lines]
    body.append("</table>")
    body += [f"<p>{_text(line)}</p>" for line in (*footnotes(found), *left_out(found))]
    body.append("<section>")
    for server, svg in pictures.items():
        data = base64.b64encode(svg).decode("ascii")
        body.append(
            f"<figure><figcaption>{_text(server)}: where it was when it ran</figcaption>"
            f'<iframe title="Flame graph of {_text(server)}" '
            f'src="data:image/svg+xml;base64,{data}"></iframe></figure>'
        )
    body.append("</section>")
    return _PAGE.format(title=title, body="\n".join(body))


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _text(text: str) -> str:
    return escape(plain(text))
