"""The columns of a session's tables: what each shows of a row, and how."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..errors import UserError
from ..model import Judged, Ratio, Row, Spread
from .numbers import UNKNOWN, ratio, significant

HELD_FROM = 1_000  # clients from which on the machine's memory is shown: else noise
FAIR_FROM = 100  # clients from which on it is shown how evenly they were served
FAIR = 0.9  # Jain's index: where it is less, the median message is not the median client's


class Column(Struct, frozen=True):
    """One column: its heading and the text of a row's cell."""

    title: str
    cell: Callable[[Row], str]
    right: bool = True
    optional: bool = False  # left out where it is unknown in every row


class ViewError(UserError):
    """A column that there is not; the message names those that there are."""


def filtered(judged: Judged, servers: Collection[str], clients: Collection[int]) -> Judged:
    """The rows of these servers and client counts; an empty collection leaves all."""
    names = set(servers)
    return replace(
        judged,
        rows=tuple(
            row
            for row in judged.rows
            if (not names or row.server in names) and (not clients or row.clients in clients)
        ),
        memory=tuple(row for row in judged.memory if not names or row.server in names),
        breaking=tuple(row for row in judged.breaking if not names or row.server in names),
    )


def kind_of(row: Row) -> str:
    """The kind of a row's load: closed, open, storm, idle or churn."""
    return row.load.partition(" ")[0]


def columns(judged: Judged, kind: str) -> tuple[Column, ...]:
    """The columns of one kind's table: those that say something in any of its rows."""
    shown = [row for row in judged.rows if kind_of(row) == kind]
    telling = {
        "load": len({row.load for row in shown}) > 1,
        "ratio": any(_told(row.ratio) for row in shown),
        "verdict": any(row.verdict and _told(row.ratio) for row in shown),
        "runs on": _mixed(shown),
    }
    return tuple(
        column
        for column in _COLUMNS
        if telling.get(column.title, True)
        and (not column.optional or any(column.cell(row) != UNKNOWN for row in shown))
    )


def _told(ratio: Ratio | None) -> bool:
    """Whether a ratio says something: it has an end, or lies at one."""
    return ratio is not None and (
        (ratio.low, ratio.high) != (None, None) or ratio.median in (0.0, math.inf)
    )


def _mixed(rows: Sequence[Row]) -> bool:
    """Whether rows ran on several interpreters, or on several versions of one distribution."""
    ran = [row for row in rows if row.python]
    versions = {pair for row in ran for pair in row.versions.items()}
    names = {name for name, _ in versions}
    return len({(row.python, row.gil) for row in ran}) > 1 or len(versions) > len(names)


def rows(judged: Judged) -> tuple[Row, ...]:
    """The rows as the tables show them: by kind and load, the best first, failures last."""
    loads = [load.label for load in judged.workload.loads]
    kinds = list(TITLES)

    def place(row: Row) -> tuple[Any, ...]:
        key, sign = _BEST[kind_of(row)]
        figure: Spread | None = getattr(row, key)
        best = sign * figure.median if figure else 0.0
        return (
            kinds.index(kind_of(row)),
            loads.index(row.load),
            row.clients,
            not stands(row),
            best,
            row.server,
        )

    return tuple(sorted(judged.rows, key=place))


def stands(row: Row) -> bool:
    """Whether a row's figures are compared: it did not fail, and not every trial was gated."""
    return row.status == "ok" and row.blocks > 0


def good_blocks(row: Row) -> str:
    return f"{row.blocks} of {row.blocks_run} block{'s' * (row.blocks_run != 1)}"


def is_uneven(row: Row) -> bool:
    return kind_of(row) == "closed" and row.fairness is not None and row.fairness.median < FAIR


TITLES = {
    "closed": "Closed loop: a client sends its next message when the echo has come",
    "open": "Open loop: messages leave on a schedule that does not wait",
    "storm": "Storm: all clients connect at once; latency is to a client's first echo",
    "idle": "Idle: clients stay and say nothing, then echo once",
    "churn": "Churn: clients come and go, each says one message; latency is to its echo",
}
# kind → what its rows are sorted by, and the sign with which the best comes first
_BEST = {
    "closed": ("messages_per_s", -1),
    "open": ("latency_p99_us", 1),
    "storm": ("latency_p99_us", 1),
    "idle": ("memory_per_client_bytes", 1),
    "churn": ("messages_per_s", -1),
}
_LATENCIES = ("latency_p50_us", "latency_p99_us", "latency_p999_us", "longest_stall_s")
# Of a load whose client was the limit: what it did to which figure. A faster client would have
# brought more messages in less time, and so every rate up and every latency down; who is served
# unevenly by a busy client may be served evenly by the server. CPU time per message is no bound:
# a server that waits for its client wakes up for fewer messages at a time than at its own limit.
_SATURATED = (
    dict.fromkeys((*_LATENCIES, "longest_silence_s", "clients_without_echo"), "≤ ")
    | dict.fromkeys(("messages_per_s", "fairness", "slowest_share"), "≥ ")
    | dict.fromkeys(("server_cpu_us_per_message", "cpu_over_floor"), "~ ")
)
_BOUNDS = {
    "closed": _SATURATED,
    "churn": _SATURATED,
    "storm": _SATURATED | {"connect_s": "≤ "},
    "open": dict.fromkeys((*_LATENCIES, "stalls_per_s"), "≤ "),
    "idle": {},
}


def marked(row: Row, key: str, text: str) -> str:
    """A figure's text with the sign of a bound, in brackets where it is compared with nothing."""
    sign = _BOUNDS[kind_of(row)].get(key, "") if row.bound else ""
    text = text if (sign, text) == ("≤ ", "0") else sign + text  # nothing is less than none
    return text if stands(row) else f"({text})"


def figure(key: str, scale: float = 1.0, varied: bool = False) -> Callable[[Row], str]:
    """The text of a row's figure, varied: with half its range over the blocks."""

    def cell(row: Row) -> str:
        spread: Spread | None = getattr(row, key)
        if spread is None:
            return UNKNOWN
        text = significant(spread.median * scale)
        if varied and row.blocks > 1 and spread.median:
            half = (spread.greatest - spread.least) / 2 / abs(spread.median) * 100
            text += f" ±{half:.0f} %" if half >= 1 else f" ±{max(half, 0.1):.1f} %"
        return marked(row, key, text)

    return cell


def _without_echo(row: Row) -> str:
    return marked(row, "clients_without_echo", f"{row.clients_without_echo or 0:,}")


def _median_latency(row: Row) -> str:
    return UNKNOWN if is_uneven(row) else figure("latency_p50_us", 1e-3)(row)


def _errors(row: Row) -> str:
    """Over all blocks, each failure once: who was not served is among the errors by its reason."""
    if row.served is None:
        return UNKNOWN
    unserved = row.unserved or 0
    others = max(sum(row.errors.values()) - unserved, 0)
    counts = (
        (unserved, "not served"), (row.lost, "lost"), (row.altered, "altered"), (others, "errors"),
    )  # fmt: skip
    return ", ".join(f"{count:,} {name}" for count, name in counts if count) or "0"


def _runs_on(row: Row) -> str:
    """The interpreter, the state of its lock where it is off, and the versions."""
    lock = " no GIL" if row.gil is False else ""
    versions = [f"{name} {version}" for name, version in row.versions.items()]
    return ", ".join([f"{row.python}{lock}", *versions]) if row.python else UNKNOWN


def _limiter(row: Row) -> str:
    if row.status == "not run":
        return row.status
    if row.status == "failed":
        failed = f"failed, {good_blocks(row)}"
        return f"{failed}: {row.limiter}" if row.limiter else failed
    return "gated" if not row.blocks else row.limiter


def _of(kinds: tuple[str, ...], least: int, cell: Callable[[Row], str]) -> Callable[[Row], str]:
    """A cell that says something of some kinds of load only, from so many clients on."""
    return lambda row: cell(row) if kind_of(row) in kinds and row.clients >= least else UNKNOWN


def _held(key: str) -> Callable[[Row], str]:
    """A cell of the machine's memory, KiB a client; its noise drowns few clients."""
    cell = figure(key, 1 / 1024)
    return lambda row: cell(row) if row.clients >= HELD_FROM else UNKNOWN


def _rank(row: Row) -> str:
    """The best and the worst rank that the evidence leaves open; one number when it is one."""
    if row.rank is None:
        return UNKNOWN
    return str(row.rank) if row.rank_worst in (None, row.rank) else f"{row.rank}–{row.rank_worst}"


def _verdict(row: Row) -> str:
    if row.verdict is None:
        return UNKNOWN
    return _LEANER.get(row.verdict, row.verdict) if kind_of(row) == "idle" else row.verdict


_LEANER = {"faster": "less", "slower": "more"}  # of memory, which is what idle is about
LOOPS, _COMING = ("closed", "open"), ("storm", "churn")

_COLUMNS = (
    Column("load", lambda row: row.load, right=False),
    Column("clients", lambda row: f"{row.clients:,}"),
    Column("rank", _rank, optional=True),
    Column("server", lambda row: row.server, right=False),
    Column("messages/s", figure("messages_per_s", varied=True), optional=True),
    Column("ratio", lambda row: ratio(row.ratio), right=False),
    Column("verdict", _verdict, right=False),
    Column("p50 ms", _median_latency),
    Column("p99 ms", figure("latency_p99_us", 1e-3)),
    Column("p99.9 ms", _of(("open",), 1, figure("latency_p999_us", 1e-3)), optional=True),
    Column("longest stall ms", _of(("open",), 1, figure("longest_stall_s", 1e3)), optional=True),
    Column("stalls/s", _of(("open",), 1, figure("stalls_per_s")), optional=True),
    Column("lag p99 µs", figure("schedule_lag_p99_us"), optional=True),
    # Of an open loop these four would say how the schedule fell, not how clients were served.
    Column("fairness", _of(("closed",), FAIR_FROM, figure("fairness")), optional=True),
    Column("slowest %", _of(("closed",), FAIR_FROM, figure("slowest_share", 100)), optional=True),
    Column("no echo, worst", _of(("closed",), FAIR_FROM, _without_echo), optional=True),
    Column("silence s", _of(("closed",), FAIR_FROM, figure("longest_silence_s")), optional=True),
    Column("retried", _of(_COMING, 1, figure("retried")), optional=True),
    Column("accept queue", _of(_COMING, 1, figure("accept_queue_max")), optional=True),
    Column("overflows", _of(_COMING, 1, figure("listen_overflows")), optional=True),
    Column("threads", _of(_COMING, 1, figure("threads_max")), optional=True),
    Column("CPU µs/message", figure("server_cpu_us_per_message"), optional=True),
    Column(
        "× floor",
        lambda row: (
            UNKNOWN
            if row.cpu_over_floor is None
            else marked(row, "cpu_over_floor", f"{row.cpu_over_floor:.1f}")
        ),
        optional=True,
    ),
    Column("KiB/client", _held("memory_per_client_bytes"), optional=True),
    Column("own KiB/client", figure("own_memory_per_client_bytes", 1 / 1024), optional=True),
    Column("loaded KiB/client", _held("loaded_memory_per_client_bytes"), optional=True),
    Column("connect s", figure("connect_s")),
    Column("errors", _errors),
    Column("limiter", lambda row: _limiter(row), right=False),
    Column("runs on", lambda row: _runs_on(row), right=False),
    Column("starts within ms", figure("start_spread_s", 1e3), optional=True),
    Column("server ← clients", lambda row: row.hosts or UNKNOWN, right=False, optional=True),
)


def column_titled(title: str) -> Column | None:
    """The column whose title begins so; None for no title. Raises ViewError."""
    found = [each for each in _COLUMNS if title and each.title.lower().startswith(title.lower())]
    if title and not found:
        raise ViewError(
            f"no column is named {title!r}; there are {', '.join(each.title for each in _COLUMNS)}"
        )
    return found[0] if found else None
