"""The columns of a session's tables: which value of a row each shows, and how."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..errors import UserError
from ..judge.figures import MORE_IS_BETTER
from ..model import KINDS, Judged, Kind, KindFacts, LoadPoint, Ratio, Row, Spread
from ..text import on_interpreter
from .numbers import SHOWN, UNKNOWN, ratio, scaled, significant

HELD_FROM = 1_000  # clients: with fewer, the machine's memory per client is only noise
FAIR_FROM = 100  # clients: with fewer, how evenly they were served is not shown
FAIR = 0.9  # Jain's index: below it, the median message is not the median client's
# A step at a share of a capacity is an open loop: figure → its sign when the client was the limit.
_AT_SHARE = {**KINDS["open"].bounds, "over_ideal": "≤ "}


class Column(Struct, frozen=True):
    """One column: its heading, the text of a row's cell, and the number to sort by."""

    title: str
    cell: Callable[[Row], str]
    value: Callable[[Row], float | None] = lambda row: None
    right: bool = True
    optional: bool = False  # left out when it is unknown in every row


class ViewError(UserError):
    """A column that does not exist; the message lists those that do."""


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


def columns(judged: Judged, kind: Kind) -> tuple[Column, ...]:
    """The columns of one kind's table: those that have something to show in some row."""
    shown = [row for row in judged.rows if row.load.kind == kind]
    telling = {
        "load": len({row.load.label for row in shown}) > 1,
        "ratio": any(_told(row.ratio) for row in shown),
        "verdict": any(row.verdict and _told(row.ratio) for row in shown),
        "runs on": _mixed(shown),
        "client": len({row.loops for row in shown} - {""}) > 1,
    }
    return tuple(
        column
        for column in _COLUMNS
        if telling.get(column.title, True)
        and (not column.optional or any(column.cell(row) != UNKNOWN for row in shown))
    )


def _told(ratio: Ratio | None) -> bool:
    """Whether a ratio is informative: it has an interval, or is 0 or infinite."""
    return ratio is not None and (
        (ratio.low, ratio.high) != (None, None) or ratio.median in (0.0, math.inf)
    )


def _mixed(rows: Sequence[Row]) -> bool:
    """Whether the rows ran on different interpreters or versions of a distribution."""
    ran = [row for row in rows if row.python]
    versions = {pair for row in ran for pair in row.versions.items()}
    names = {name for name, _ in versions}
    on = {(row.python, row.build, row.gil) for row in ran}
    return len(on) > 1 or len(versions) > len(names)


def rows(judged: Judged) -> tuple[Row, ...]:
    """The rows in the order of the tables: by kind and load, the best first, failures last."""
    loads = list(judged.workload.loads)
    kinds = list(KINDS)

    def place(row: Row) -> tuple[Any, ...]:
        key = row.load.facts.primary
        figure: Spread | None = getattr(row, key)
        sign = -1 if MORE_IS_BETTER[key] else 1
        best = sign * figure.median if figure else 0.0
        return (
            kinds.index(row.load.kind),
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
    return row.load.facts.closed_loop and row.fairness is not None and row.fairness.median < FAIR


def bound_of(row: Row, key: str) -> str:
    """The sign of a figure that something other than the server limited; "" for others."""
    return row.load.facts.bounds.get(key, "") if row.bound else ""


def marked(row: Row, key: str, text: str) -> str:
    """A figure's text with the sign of a bound, in brackets when it is not compared."""
    sign = bound_of(row, key)
    text = text if (sign, text) == ("≤ ", "0") else sign + text  # nothing is less than 0
    return text if stands(row) else f"({text})"


def latency_ms(row: Row, found: Spread | None) -> str:
    """One of a row's latencies that has no column, in ms, marked as the row's p99 is."""
    if found is None:
        return UNKNOWN
    return marked(row, "latency_p99_us", scaled("latency_p99_us", found.median))


def at_share(point: LoadPoint, key: str) -> str:
    """A figure at a share of a server's capacity, marked where it is a bound."""
    found: Spread | None = getattr(point, key)
    if found is None:
        return UNKNOWN
    sign = _AT_SHARE.get(key, "") if point.bound else ""
    return sign + scaled(key, found.median)


def figure(key: str, varied: bool = False, scale: float | None = None) -> Callable[[Row], str]:
    """The text of a row's figure.

    varied: with ± half its range over the blocks. scale: instead of the figure's usual one.
    """

    def cell(row: Row) -> str:
        spread: Spread | None = getattr(row, key)
        if spread is None:
            return UNKNOWN
        text = scaled(key, spread.median, scale)
        if varied and row.blocks > 1 and spread.median:
            half = (spread.greatest - spread.least) / 2 / abs(spread.median) * 100
            text += f" ±{half:.0f} %" if half >= 1 else f" ±{max(half, 0.1):.1f} %"
        return marked(row, key, text)

    return cell


def _without_echo(row: Row) -> str:
    if not row.load.facts.closed_loop or row.clients < FAIR_FROM:
        return UNKNOWN
    return marked(row, "clients_without_echo", f"{row.clients_without_echo or 0:,}")


def _median_latency(row: Row) -> str:
    return UNKNOWN if is_uneven(row) else figure("latency_p50_us")(row)


def _failures(row: Row) -> tuple[tuple[int, str], ...]:
    """(how many, what) of all blocks. An unserved client is not counted again as an error."""
    unserved = row.unserved or 0
    others = max(sum(row.errors.values()) - unserved, 0)
    return (
        (unserved, "not served"),
        (row.lost or 0, "lost"),
        (row.altered or 0, "altered"),
        (others, "errors"),
    )


def _errors(row: Row) -> str:
    if row.served is None:
        return UNKNOWN
    return ", ".join(f"{count:,} {name}" for count, name in _failures(row) if count) or "0"


def _runs_on(row: Row) -> str:
    """The interpreter, how it was built, whether it ran without its lock; the distributions."""
    versions = [f"{name} {version}" for name, version in row.versions.items()]
    on = on_interpreter(row.python, row.build, row.gil)
    return ", ".join([on, *versions]) if row.python else UNKNOWN


def limiters(row: Row) -> str:
    """What limited a row's trials, in words."""
    return " / ".join(map(str, row.limiters))


def _limiter(row: Row) -> str:
    if row.status == "not run":
        return row.status
    if row.status == "failed":
        failed = f"failed, {good_blocks(row)}"
        return f"{failed}: {limiters(row)}" if row.limiters else failed
    return "gated" if not row.blocks else limiters(row)


def _scheduled(facts: KindFacts) -> bool:
    return facts.scheduled


def _closed_loop(facts: KindFacts) -> bool:
    return facts.closed_loop


def _arriving(facts: KindFacts) -> bool:
    return facts.clients_arrive


def _rank(row: Row) -> str:
    """The best and worst rank that the evidence allows; one number when they are equal."""
    if row.rank is None:
        return UNKNOWN
    return str(row.rank) if row.rank_worst in (None, row.rank) else f"{row.rank}–{row.rank_worst}"


def _verdict(row: Row) -> str:
    if row.verdict is None:
        return UNKNOWN
    better, worse = row.load.facts.words
    return {"faster": better, "slower": worse}.get(row.verdict, row.verdict)


def _median(key: str) -> Callable[[Row], float | None]:
    """The number behind a figure's cell."""

    def value(row: Row) -> float | None:
        spread: Spread | None = getattr(row, key)
        return spread.median if spread else None

    return value


def _of(
    key: str,
    fits: Callable[[KindFacts], bool] = lambda facts: True,
    *,
    least: int = 1,
    varied: bool = False,
    optional: bool = True,
) -> Column:
    """A figure's column, filled for loads that it fits and from `least` clients on."""
    cell = figure(key, varied)
    return Column(
        SHOWN[key].heading,
        lambda row: cell(row) if fits(row.load.facts) and row.clients >= least else UNKNOWN,
        value=_median(key),
        optional=optional,
    )


def _capacity(row: Row) -> str:
    """The capacity, and between which rates a further search would find it."""
    text = figure("capacity_per_s")(row)
    if text == UNKNOWN or row.capacity_interval is None or not stands(row):
        return text
    low, high = (significant(rate) for rate in row.capacity_interval)
    return f"{text} ({low} to {high})"


def _floors(row: Row) -> str:
    over = row.cpu_over_floor
    return UNKNOWN if over is None else marked(row, "cpu_over_floor", f"{over:.1f}")


_COLUMNS = (
    Column("load", lambda row: row.load.label, right=False),
    Column("clients", lambda row: f"{row.clients:,}", value=lambda row: row.clients),
    Column("rank", _rank, value=lambda row: row.rank, optional=True),
    Column("server", lambda row: row.server, right=False),
    Column(
        SHOWN["capacity_per_s"].heading,
        _capacity,
        value=_median("capacity_per_s"),
        optional=True,
    ),
    _of("messages_per_s", varied=True),
    Column(
        "ratio",
        lambda row: ratio(row.ratio),
        value=lambda row: row.ratio.median if row.ratio else None,
        right=False,
    ),
    Column("verdict", _verdict, right=False),
    Column("p50 ms", _median_latency, value=_median("latency_p50_us")),
    _of("latency_p99_us", optional=False),
    _of("latency_p999_us", _scheduled),
    _of("longest_stall_s", _scheduled),
    _of("stalls_per_s", _scheduled),
    _of("schedule_lag_p99_us"),
    _of("read_lag_p99_us"),
    # In an open loop these would show how the schedule fell, not how clients were served.
    _of("fairness", _closed_loop, least=FAIR_FROM),
    _of("slowest_share", _closed_loop, least=FAIR_FROM),
    Column(
        "no echo, worst",
        _without_echo,
        value=lambda row: row.clients_without_echo,
        optional=True,
    ),
    _of("longest_silence_s", _closed_loop, least=FAIR_FROM),
    _of("retried", _arriving),
    _of("accept_queue_max", _arriving),
    _of("listen_overflows", _arriving),
    _of("threads_max", _arriving),
    _of("server_cpu_us_per_message"),
    Column("× floor", _floors, value=lambda row: row.cpu_over_floor, optional=True),
    _of("memory_per_client_bytes", least=HELD_FROM),
    _of("own_memory_per_client_bytes"),
    _of("loaded_memory_per_client_bytes", least=HELD_FROM),
    _of("connect_s", optional=False),
    Column("errors", _errors, value=lambda row: sum(count for count, _ in _failures(row))),
    Column("limiter", _limiter, right=False),
    Column("client", lambda row: row.loops or UNKNOWN, right=False),
    Column("runs on", _runs_on, right=False),
    _of("start_spread_s"),
    Column("server ← clients", lambda row: row.hosts or UNKNOWN, right=False, optional=True),
)


def column_titled(title: str) -> Column | None:
    """The column whose title begins with this; None for "". Raises ViewError."""
    found = [each for each in _COLUMNS if title and each.title.lower().startswith(title.lower())]
    if title and not found:
        raise ViewError(
            f"there is no column {title!r}; choose from "
            f"{', '.join(each.title for each in _COLUMNS)}"
        )
    return found[0] if found else None
