"""Tables with one line for each server: the figures of a session that a page of docs is about.

docs quotes them between `<!-- KIND: PATH -->` and `<!-- end -->`, where KIND is a key of KINDS
and PATH the folder of a kept session. The whole tables are what `c10k show PATH` prints.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tables import grid

from c10k.judge import judge
from c10k.model import Judged, Row
from c10k.render import columns
from c10k.render.numbers import UNKNOWN
from c10k.render.sentences import heading
from c10k.run import store

Cell = Callable[[Row], str]


class Chosen(NamedTuple):
    """A figure of each server: its load, by how its label begins, its clients, and its cell."""

    load: str
    clients: int
    cell: Cell


def under(load: str, clients: int, cells: Mapping[str, Cell]) -> dict[str, Chosen]:
    """These figures of each server, all under one load."""
    return {title: Chosen(load, clients, cell) for title, cell in cells.items()}


def column(title: str) -> Cell:
    """The text of a row's cell in the column of a session's table that has this title."""
    found = columns.column_titled(title)
    assert found is not None, title
    return found.cell


def lines(path: Path, chosen: Mapping[str, Chosen], memory: bool = False) -> str:
    """What a session is, its remarks, and a line for each server.

    memory: with a last column, what a client that stays takes, by the slopes over client counts.
    """
    judged = judge(store.load(path))
    totals = all(row.total for row in judged.memory)
    held = {row.server: (row.total if totals else None) or row.pss for row in judged.memory}
    rows = []
    for server in dict.fromkeys(row.server for row in judged.rows):
        name = f"the same again ({server})" if server == judged.control else server
        cells = [_cell(judged, server, figure) for figure in chosen.values()]
        if memory:
            cells.append(f"{held[server].per_client / 1024:.1f}" if server in held else UNKNOWN)
        rows.append((name, *cells))
    size = ["KiB a client" if totals else "KiB a client, its own"] * memory
    notes = [f"- {line}" for line in judged.warnings]
    headings = ("server", *chosen, *size)
    table = grid(headings, rows, "l" + "r" * (len(headings) - 1))
    return "\n".join([f"{heading(judged)}.", "", *notes, "", table])


def _cell(judged: Judged, server: str, figure: Chosen) -> str:
    row = next(
        row
        for row in judged.rows
        if (row.server, row.clients) == (server, figure.clients)
        and row.load.label.startswith(figure.load)
    )
    shown = figure.cell(row)
    return shown if row.status == "ok" else f"{shown} {row.status}"


def headline(path: Path) -> str:
    """The most important figures of a session of c10k.toml."""
    rate, no_echo = column("messages/s"), column("no echo, worst")
    p99_ms, p99_s = (
        columns.figure("latency_p99_us", varied=True, scale=scale) for scale in (1e-3, 1e-6)
    )
    chosen = {
        "messages/s, 1 client": Chosen("closed", 1, rate),
        "100 clients": Chosen("closed", 100, rate),
        "10,000": Chosen("closed", 10_000, rate),
        "19,900": Chosen("closed", 19_900, rate),
        "no echo, of 10,000, worst block": Chosen("closed", 10_000, no_echo),
        "p99 ms, 10,000 clients, 1,000/s": Chosen("open 64 B 1,000/s", 10_000, p99_ms),
        "p99 ms, 10,000/s": Chosen("open 64 B 10,000/s", 10_000, p99_ms),
        "storm of 10,000: p99 s": Chosen("storm", 10_000, p99_s),
        "churn/s": Chosen("churn", 10_000, rate),
    }
    return lines(path, chosen, memory=True)


def over_tls(path: Path) -> str:
    """What a handshake, a message and a client cost in a session of tls.toml."""
    rate, p99, cost = column("messages/s"), column("p99 ms"), column("CPU µs/message")
    chosen = {
        "handshakes/s": Chosen("churn", 1_000, rate),
        "CPU µs each": Chosen("churn", 1_000, cost),
        "storm of 10,000: s": Chosen("storm", 10_000, column("connect s")),
        "64 B: messages/s": Chosen("closed 64 B", 1_000, rate),
        "CPU µs a message": Chosen("closed 64 B", 1_000, cost),
        "16 KiB: messages/s": Chosen("closed 16384 B", 1_000, rate),
        "p99 ms at 1,000/s": Chosen("open", 1_000, p99),
    }
    return lines(path, chosen, memory=True)


def at_work(path: Path) -> str:
    """What the requests that wait 20 ms took, p90 and p99 in ms, beside each other request."""

    def waiting(row: Row) -> str:
        (wait,) = (each for each in row.by_request if each.request == "wait 20 ms")
        spreads = (wait.latency_p90_us, wait.latency_p99_us)
        return " / ".join(columns.latency_ms(row, spread) for spread in spreads)

    beside = {
        "alone": "open wait 20 ms",
        "beside 1 ms of computing": "open 90 % wait 20 ms + 10 % hold 1 ms",
        "beside a blocking call of 5 ms": "open 90 % wait 20 ms + 10 % block 5 ms",
        "beside the same in a thread": "open 90 % wait 20 ms + 10 % offload 5 ms",
    }
    return lines(path, {what: Chosen(load, 1_000, waiting) for what, load in beside.items()})


def spread(path: Path) -> str:
    """How clients fell on the processes in a session of spread.toml, and the tail."""
    most = columns.figure("worker_clients_most")
    chosen = {
        "clients: most %, of 100": Chosen("closed", 100, most),
        "CPU: most %": Chosen("closed", 100, columns.figure("worker_cpu_most")),
        "messages/s": Chosen("closed", 100, column("messages/s")),
        "clients: most %, of 1,000": Chosen("open", 1_000, most),
        "p99 ms, 1,000 clients, 10,000/s": Chosen("open", 1_000, column("p99 ms")),
    }
    return lines(path, chosen)


def backend(path: Path) -> str:
    """What asking Redis costs in a session of backend.toml."""
    chosen = {
        "messages/s, 100 clients": Chosen("closed", 100, column("messages/s")),
        "1,000 clients": Chosen("closed", 1_000, column("messages/s")),
        "ratio": Chosen("closed", 1_000, column("ratio")),
        "CPU µs a message": Chosen("closed", 1_000, column("CPU µs/message")),
        "p50 ms, 1,000 clients, 500/s": Chosen("open", 1_000, column("p50 ms")),
        "p99 ms": Chosen("open", 1_000, column("p99 ms")),
    }
    return lines(path, chosen)


def tuned(path: Path) -> str:
    """The tail of each server and of its tuned ones in a session of collector.toml."""
    titles = ("p50 ms", "p99 ms", "ratio", "verdict", "longest stall ms", "stalls/s", "limiter")
    return lines(path, under("open", 10_000, {title: column(title) for title in titles}))


def capacity(path: Path) -> str:
    """What a server can promise in a session of capacity.toml, and how it did at shares of that."""

    def at(share: float, key: str) -> Cell:
        def cell(row: Row) -> str:
            (point,) = (each for each in row.over_load if each.share == share)
            return columns.at_share(point, key)

        return cell

    cells = {
        "messages/s": column("capacity"),
        "ratio": column("ratio"),
        "verdict": column("verdict"),
        "CPU µs a message at it": column("CPU µs/message"),
        "at 10% of it": at(0.1, "server_cpu_us_per_message"),
        **{
            f"p99 ms at {share:.0%} of it": at(share, "latency_p99_us") for share in (0.1, 0.3, 0.5)
        },
        **{f"p50 ms at {share:.0%}": at(share, "latency_p50_us") for share in (0.5, 0.7, 0.9)},
        "longest stall ms at 90%": at(0.9, "longest_stall_s"),
    }
    return lines(path, under("capacity", 1_000, cells))


def capacity_at_work(path: Path) -> str:
    """How many requests of a mix a server can promise in a session of capacity_work.toml."""
    cells = {
        "requests/s": column("capacity"),
        "ratio": column("ratio"),
        "verdict": column("verdict"),
        "p50 ms at it": column("p50 ms"),
        "CPU µs a request": column("CPU µs/message"),
        "own KiB a client": column("own KiB/client"),
    }
    return lines(path, under("capacity", 1_000, cells))


KINDS = {
    "tuned": tuned,
    "capacity": capacity,
    "capacity_work": capacity_at_work,
    "headline": headline,
    "tls": over_tls,
    "work": at_work,
    "spread": spread,
    "backend": backend,
}
