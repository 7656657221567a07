"""Sessions → one self-contained page: limits and the machine first, then the numbers.

It loads no script or style from elsewhere, so it opens from a file:// address. Filters hide
rows of tables and marks of pictures alike; their state is in the address after the #.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from msgspec import Struct

from ..model import Judged, Row, Session, Spread
from ..text import entries, plain
from . import columns, numbers, pictures, sentences, table, verdicts
from .looks import family, looks


class PageSession(Struct, frozen=True):
    """A session to be shown, with its name on the page."""

    name: str
    session: Session
    judged: Judged


def render(
    shown: Sequence[PageSession],
    differences: Sequence[str] = (),
    outcomes: verdicts.Outcomes | None = None,
) -> str:
    """The page. differences: how the other sessions' environments differ from the first's."""
    from jinja2 import Environment  # late: only a report needs it

    folder = resources.files(__package__) / "page"
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_plain
    )
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    servers = {
        server.name: server
        for each in shown
        for server in each.session.plan.servers
        if server.name != each.judged.control
    }
    styles = looks(sorted({family(name) for name in servers}))
    described = {
        name: {
            "framework": family(name),
            "model": server.model,
            "tier": server.tier,
            "colour": styles[family(name)].colour,
            "shape": styles[family(name)].shape,
        }
        for name, server in servers.items()
    }
    counts = sorted({row.clients for each in shown for row in each.judged.rows})
    known = json.dumps(described).replace("<", "\\u003c")
    script = f"const SERVERS = {known};\n" + (folder / "page.js").read_text(encoding="utf-8")
    return template.render(
        title=" and ".join(dict.fromkeys(each.judged.workload.title for each in shown)),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        servers=described,
        filters=_filters(described, counts),
        sessions=[_session(each, index, len(shown) > 1) for index, each in enumerate(shown)],
        pictures=_pictures(shown),
        together=_together(shown),
        differences=differences,
        claims=_claims(outcomes) if outcomes else {},
    )


def _plain(value: object) -> object:
    """A template expression's value, sanitised; what is marked as HTML is our own and is kept."""
    marked = hasattr(value, "__html__")
    return plain(value) if isinstance(value, str) and not marked else value


def _session(shown: PageSession, index: int, several: bool) -> dict[str, Any]:
    """One session for the template: its verdict, limits, environment and tables."""
    judged = shown.judged
    return {
        "id": f"s{index}",
        "name": shown.name if several else "",
        "heading": sentences.heading(judged),
        "verdict": verdict(judged),
        "echoes": not any(row.by_request for row in judged.rows),
        "remarks": sentences.remarks(judged),
        "footers": sentences.footers(judged),
        "environment": entries(judged.environment).items(),
        "tables": [_table(judged, each) for each in table.tables(judged)],
    }


def _claims(outcomes: verdicts.Outcomes) -> dict[str, Any]:
    """The verdicts on the talk's claims, each with its evidence."""
    return {
        "heading": verdicts.heading(outcomes),
        "remarks": verdicts.remarks(outcomes),
        "outcomes": [
            {
                "words": each.words,
                "decision": each.decision,
                "counted": verdicts.counted(each.parts),
                "experiment": each.experiment,
                "rule": each.rule,
                "lines": [line.cells for line in verdicts.grid(each).lines],
            }
            for each in outcomes.outcomes
        ],
    }


def _pictures(shown: Sequence[PageSession]) -> list[tuple[str, str, pictures.Picture]]:
    """(id, session's name, picture); the same pictures of all sessions are side by side."""
    drawn = [
        (f"s{index}", each.name if len(shown) > 1 else "", picture)
        for index, each in enumerate(shown)
        for picture in pictures.pictures(each.session, each.judged)
    ]
    order = list(dict.fromkeys(picture.name for *_, picture in drawn))
    return sorted(drawn, key=lambda each: order.index(each[2].name))


def verdict(judged: Judged) -> str:
    """The session's result in a paragraph: only what its intervals and counts support."""
    rows = [row for row in judged.rows if row.server != judged.control]
    closed = [row for row in rows if row.load.facts.closed_loop]
    said = [*_fastest(closed), *_starved(closed)]
    said += _retried([row for row in rows if not row.load.facts.waits_at_barrier])
    failed = dict.fromkeys(f"{r.server} at {r.clients:,}" for r in rows if r.status == "failed")
    if failed:
        said.append(f"Failed: {_listed(list(failed))}; the reasons are below.")
    for point in judged.breaking:
        held = f"{point.server} met the service level up to {point.holds or 0:,} clients"
        broke = "the most that was tried" if point.fails is None else f"then broke: {point.broke}"
        said.append(f"{held}, {broke}.")
    return " ".join(said) or "This session claims no difference; its figures are below."


def _fastest(closed: Sequence[Row]) -> Iterable[str]:
    """The fastest servers at the lowest client count, at 10,000 and at the highest.

    Where several may be the fastest, it names them, or those that were shown not to be, whichever
    are fewer. Where any of them may be, it says nothing.
    """
    counts = sorted({row.clients for row in closed})
    loads = sorted({row.load for row in closed}, key=lambda load: (load.clients, load.label))
    for load in loads:
        at = [row for row in closed if row.load == load and row.shown_better is not None]
        first = [row.server for row in at if not row.shown_better]
        slower = [row.server for row in at if row.shown_better]
        if not slower or load.clients not in (counts[0], 10_000, counts[-1]):
            continue
        several = sum(each.clients == load.clients for each in loads) > 1
        under = f" ({load.label})" if several else ""
        where = f"At {numbers.client_count(load.clients)} in a closed loop{under}"
        if len(first) == 1:
            yield f"{where} {first[0]} was the fastest in Python."
        elif len(first) <= len(slower):
            yield f"{where} nothing in Python was shown to be faster than {_listed(first)}."
        else:
            yield (
                f"{where} {_listed(slower)} {'were' if len(slower) > 1 else 'was'} shown to be "
                "slower than another server; the others are not told apart."
            )


def _retried(storms: Sequence[Row]) -> Iterable[str]:
    """How many clients had to connect again, for each number that connected at once."""
    for clients in sorted({row.clients for row in storms}):
        made = [
            f"{row.server} {row.retried.median:,.0f}"
            for row in storms
            if row.clients == clients and row.retried and row.retried.median
        ]
        if made:
            come = f"When {numbers.client_count(clients)} came at once, this many had to try again"
            yield f"{come}: {_listed(made)}."


def _starved(closed: Sequence[Row]) -> Iterable[str]:
    """Which servers left clients without any echo, and the worst case."""
    starved = [row for row in closed if row.clients_without_echo]
    if starved:
        worst = max(starved, key=lambda row: row.clients_without_echo or 0)
        yield (
            f"{_listed(sorted({row.server for row in starved}))} left clients without an echo "
            f"for a whole slice, {worst.server} up to {worst.clients_without_echo:,} of "
            f"{worst.clients:,}."
        )


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _table(judged: Judged, shown: table.Table) -> dict[str, Any]:
    """A table, with the server and client count by which each line is filtered."""
    heads = [title for title, _ in shown.headings]
    where = {name: heads.index(name) if name in heads else None for name in ("server", "clients")}
    lines = []
    for line in shown.lines:
        server = line.cells[where["server"]] if where["server"] is not None else ""
        clients = line.cells[where["clients"]] if where["clients"] is not None else ""
        lines.append(
            {
                "cells": line.cells,
                "status": line.status.replace(" ", "-"),
                "server": server.removesuffix("-control") if server == judged.control else server,
                "clients": clients.replace(",", ""),
            }
        )
    return {"title": shown.title, "headings": shown.headings, "lines": lines}


def _filters(
    servers: Mapping[str, Mapping[str, str]], counts: Sequence[int]
) -> list[dict[str, Any]]:
    """The filters, each with its values; a key with only one value has no filter."""
    found = []
    for key in ("framework", "model", "tier"):
        values = sorted({server[key] for server in servers.values()})
        found.append({"key": key, "values": [(value, value) for value in values]})
    found.append({"key": "clients", "values": [(str(n), f"{n:,}") for n in counts]})
    return [each for each in found if len(each["values"]) > 1]


def _together(shown: Sequence[PageSession]) -> dict[str, Any]:
    """One table of all sessions: each server's primary figure under each load they share."""
    rows: dict[tuple[str, int, str], dict[str, Row]] = {}
    for each in shown:
        for row in each.judged.rows:
            if row.server != each.judged.control:
                rows.setdefault((row.load.label, row.clients, row.server), {})[each.name] = row
    names = [each.name for each in shown]
    return {
        "headings": [
            *(("load", False), ("clients", True), ("server", False)),
            *((name, True) for name in names),
        ],
        "lines": [
            {
                "cells": [load, f"{clients:,}", server, *(_primary(of.get(n)) for n in names)],
                "status": "",
                "server": server,
                "clients": clients,
            }
            for (load, clients, server), of in rows.items()
            if len(of) > 1
        ],
    }


def _primary(row: Row | None) -> str:
    if row is None:
        return numbers.UNKNOWN
    key = row.load.facts.primary
    spread: Spread | None = getattr(row, key)
    if spread is None:
        return row.status if row.status != "ok" else numbers.UNKNOWN
    low, high = (numbers.scaled(key, each) for each in (spread.least, spread.greatest))
    text = f"{numbers.scaled(key, spread.median)} {numbers.SHOWN[key].unit}"
    return columns.marked(row, key, text) + f" ({low} to {high})"
