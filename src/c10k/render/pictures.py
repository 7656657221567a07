"""Pictures of a session as SVG text: each framework has one colour and one marker throughout.

Vega-Lite draws them without a browser. Each mark's label begins with its server's name, by
which the page filters.

Each line has its server's name beside its last point. No point is left out. A point that is not
compared (it failed or was gated), or that is 0, is a cross with the reason in its label, and no
line runs through it. Trials are not pooled: a point is their median, and a bar their range.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from ..judge.figures import by_percentile
from ..model import KINDS, Judged, Kind, Load, Measurement, Row, Session, Spread
from ..text import plain
from . import panels
from .columns import at_share, stands
from .looks import AXIS, family, looks
from .numbers import significant

_WIDTH, _HEIGHT = 640, 340
_LINE = 13  # px between two labels
_CROSS = "M-1,-1L1,1M1,-1L-1,1"  # as a path: Vega's own cross is a plus
_PERCENTILES = (0, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99, 99.999)


class Picture(Struct, frozen=True):
    """One picture: its title, a description and its SVG."""

    name: str  # for its id in the page
    title: str
    says: str  # what is on the axes and what the bars mean
    svg: str


def pictures(session: Session, judged: Judged) -> tuple[Picture, ...]:
    """All pictures for which this session has data."""
    rows = [row for row in judged.rows if row.server != judged.control]
    drawn = [
        _ladder(rows, *which)
        for which in (
            ("throughput", "Throughput", "messages/s, closed loop", _rate),
            ("latency", "p99 latency in the closed loop", "ms", _p99),
            ("silence", "The longest wait of any client", "s, closed loop", _silence),
            ("fairness", "Fairness (Jain's index)", "1: all clients got the same", _fairness),
            ("cost", "CPU time per message", "µs, closed loop", _cost),
            ("floor", "CPU time per message, over the C server's", "times", _over_floor),
            ("memory", "Memory of all clients together", "MiB more than with none", _memory),
        )
    ]
    drawn += [_over_load(rows), _by_interpreter(judged)]
    drawn += [
        _curves(session, judged, kind)
        for kind, facts in KINDS.items()
        if not facts.reconnects and not facts.searched
    ]
    return tuple(picture for picture in drawn if picture is not None)


def _by_interpreter(judged: Judged) -> Picture | None:
    """What the interpreter, and its lock, cost and give each server."""
    svg, says = panels.svg(judged)
    says += "; bars are the range over the blocks; pale: failed or gated, not compared"
    return Picture("interpreters", "Every server on each interpreter", says, svg) if svg else None


_Plotted = Callable[[Row], tuple[Spread | None, float]]


def _rate(row: Row) -> tuple[Spread | None, float]:
    return row.messages_per_s, 1.0


def _p99(row: Row) -> tuple[Spread | None, float]:
    return row.latency_p99_us, 1e-3


def _silence(row: Row) -> tuple[Spread | None, float]:
    return row.longest_silence_s, 1.0


def _fairness(row: Row) -> tuple[Spread | None, float]:
    return row.fairness, 1.0


def _cost(row: Row) -> tuple[Spread | None, float]:
    return row.server_cpu_us_per_message, 1.0


def _over_floor(row: Row) -> tuple[Spread | None, float]:
    over = row.cpu_over_floor
    return (None if over is None else Spread(over, over, over)), 1.0


def _memory(row: Row) -> tuple[Spread | None, float]:
    return row.memory_per_client_bytes, row.clients / 2**20


def _ladder(
    rows: Sequence[Row], name: str, title: str, unit: str, figure: _Plotted
) -> Picture | None:
    """A closed-loop figure over the number of clients, with its range over the blocks."""
    closed = [row for row in rows if row.load.facts.closed_loop]
    points, crosses = [], []
    for row in closed:
        spread, scale = figure(row)
        point = _point(row, spread, scale, unit)
        if _crossed(row, spread):
            crosses.append(point)
        elif spread is not None:
            points.append(point)
    if len({point["clients"] for point in points}) < 2:
        return None
    counts = sorted({row.clients for row in closed})
    _in_runs(points, counts)
    log = name != "fairness"
    _on_the_axis([*points, *crosses], log)
    says = f"{unit}, over the number of clients; bars are the range over the blocks"
    says += "; ×: failed, gated or 0, not compared" if crosses else ""
    svg = _chart(points, "clients", "clients", unit, log=log, crosses=crosses)
    return Picture(name, title, says, svg)


def _over_load(rows: Sequence[Row]) -> Picture | None:
    """p99 over the share of each server's own capacity, at the greatest client count."""
    with_points = [row for row in rows if row.over_load and stands(row)]
    if not with_points:
        return None
    clients = max(row.clients for row in with_points)
    points = [
        {
            "server": row.server,
            "family": family(row.server),
            "share": point.share * 100,
            "value": spread.median / 1000,
            "low": spread.least / 1000,
            "high": spread.greatest / 1000,
            "run": 0,
            "says": f"{row.server}, {clients:,} clients, {point.share:.0%} of its capacity: "
            f"p99 {at_share(point, 'latency_p99_us')} ms",
        }
        for row in with_points
        if row.clients == clients
        for point in row.over_load
        if (spread := point.latency_p99_us)
    ]
    return Picture(
        "over-load",
        f"p99 latency over the load, {clients:,} clients",
        "ms, over the share (%) of each server's own capacity; bars are the range over the blocks",
        _chart(points, "share", "% of its own capacity", "ms", linear=True),
    )


def _crossed(row: Row, spread: Spread | None) -> bool:
    """Whether a row's point is a cross: shown, but not part of any line."""
    nothing_stands = not stands(row) and row.status != "not run"
    return nothing_stands or (spread is not None and spread.median <= 0)


def _point(row: Row, spread: Spread | None, scale: float, unit: str) -> dict[str, Any]:
    """A row's figure as numbers to draw and as a label; None cannot be placed on an axis."""
    what = f"{row.server}, {row.clients:,} clients"
    kept = {"server": row.server, "family": family(row.server), "clients": row.clients}
    good = f" ({row.blocks} of {row.blocks_run} blocks good)" if row.status != "not run" else ""
    word = "gated" if row.status == "ok" else row.status
    why = "" if stands(row) else f": {word}{good}: {row.reason}"
    if spread is None:
        return {**kept, "value": None, "low": None, "high": None, "says": what + why}
    values = [part * scale for part in (spread.median, spread.least, spread.greatest)]
    said = f"{significant(values[0])} ({significant(values[1])} to {significant(values[2])}) {unit}"
    if spread.median == 0 and not why:
        why = ", nothing in most blocks"
    value, low, high = values
    return {**kept, "value": value, "low": low, "high": high, "says": f"{what}: {said}{why}"}


def _in_runs(points: Iterable[dict[str, Any]], counts: Sequence[int]) -> None:
    """Numbers each server's runs of consecutive counts; each run is drawn as its own line."""
    runs: dict[str, tuple[int, int]] = {}  # server → its last place, and the run's number
    for point in sorted(points, key=lambda point: point["clients"]):
        place = counts.index(point["clients"])
        before, run = runs.get(point["server"], (place - 1, 0))
        run += place != before + 1
        point["run"] = run
        runs[point["server"]] = place, run


def _on_the_axis(points: Sequence[dict[str, Any]], log: bool) -> None:
    """Moves values that a logarithmic axis cannot show, 0 and less, to its foot."""
    if not log:
        return
    placed = [point[key] for point in points for key in ("value", "low", "high") if point[key]]
    least = min((value for value in placed if value > 0), default=1.0)
    for point in points:
        if point["value"] is not None:
            point["low"] = max(point["low"], least)
            if point["value"] <= 0:
                point["value"] = None


def _curves(session: Session, judged: Judged, kind: Kind) -> Picture | None:
    """Latency by percentile, at the greatest client count of a kind and its highest rate.

    Each percentile is the median over a server's trials, with their range. A curve ends where
    one of the trials has too few messages beyond.
    """
    loads = [load for load in session.plan.workload.loads if load.kind == kind]
    if not loads:
        return None
    load = max(loads, key=lambda each: (each.clients, each.rate, -each.message_bytes))
    at = [row for row in judged.rows if row.load == load]
    drawn = [row.server for row in at if stands(row) and row.server != judged.control]
    points = [
        _percentile(server, load, percent, [curve[percent] for curve in curves])
        for server in drawn
        if (curves := [by_percentile(m, _PERCENTILES) for m in _trials(session, load, server)])
        for percent in _PERCENTILES
        if all(percent in curve for curve in curves)
    ]
    if not points:
        return None
    missing = [row.server for row in at if not stands(row) and row.server != judged.control]
    what = "Latency" if KINDS[kind].waits_at_barrier else "Time to a client's first echo"
    says = (
        "ms, over 1/(1 - percentile): 10 is p90, 100 is p99; median and range of the trials; a "
        "curve ends where too few messages lie beyond"
    )
    says += f"; not drawn, as they failed or were gated: {', '.join(missing)}" if missing else ""
    return Picture(
        f"percentiles-{kind}",
        f"{what} by percentile, {load.label}, {load.clients:,} clients",
        says,
        _chart(points, "beyond", "1/(1 - percentile)", "ms"),
    )


def _trials(session: Session, load: Load, server: str) -> list[Measurement]:
    return [
        m
        for m in session.measurements
        if m.trial.load == load
        and m.trial.server == server
        and m.accepted
        and m.latency
        and m.latency.histogram
    ]


def _percentile(server: str, load: Load, percent: float, values: Sequence[float]) -> dict[str, Any]:
    ms = [max(value / 1e6, 1e-3) for value in values]
    median, least, greatest = statistics.median(ms), min(ms), max(ms)
    said = f"{significant(median)} ({significant(least)} to {significant(greatest)}) ms"
    return {
        "server": server,
        "family": family(server),
        "beyond": 100 / (100 - percent),
        "value": median,
        "low": least,
        "high": greatest,
        "run": 0,
        "says": f"{server}, {load.clients:,} clients, p{percent:g}: {said}",
    }


def _printable(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points with text that is safe in the SVG, whatever a server is called."""
    return [
        {key: plain(value) if isinstance(value, str) else value for key, value in point.items()}
        for point in points
    ]


def _chart(
    points: Sequence[dict[str, Any]],
    x: str,
    x_title: str,
    y_title: str,
    *,
    log: bool = True,
    linear: bool = False,
    crosses: Sequence[dict[str, Any]] = (),
) -> str:
    """The SVG. log: whether the figures' axis is logarithmic. linear: whether the other is not."""
    import altair as alt  # late: slow to import
    import vl_convert

    known = {plain(point["family"]) for point in (*points, *crosses)}
    styles = looks(sorted(known))
    families = [name for name in styles if name in known]
    most = max((point["value"] for point in points), default=0)
    numbers = "~g" if most < 10_000 else "~s"  # 0.3 and not 300m, but 30k and not 30000
    across = alt.X(
        f"{x}:Q",
        scale=alt.Scale(domain=[0, 100]) if linear else alt.Scale(type="log", nice=False),
        axis=alt.Axis(title=x_title, labelOverlap=True, format="~s", **AXIS),
    )
    scale = alt.Scale(type="log", nice=False, padding=8) if log else alt.Scale(domain=[0, 1])
    up = alt.Y("value:Q", scale=scale, axis=alt.Axis(title=y_title, format=numbers, **AXIS))
    colour = alt.Color(
        "family:N",
        scale=alt.Scale(domain=families, range=[styles[f].colour for f in families]),
        legend=None,
    )
    shape = alt.Shape(
        "family:N",
        scale=alt.Scale(domain=families, range=[styles[f].shape for f in families]),
        legend=None,
    )
    base = alt.Chart(alt.Data(values=_printable(points)))
    layers = [
        base.mark_line().encode(
            across, up, colour, detail=["server:N", "run:N"], description="server:N"
        ),
        base.mark_rule(strokeWidth=1.5).encode(
            across, alt.Y("low:Q"), colour, y2="high:Q", description="says:N"
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(
            across, up, colour, shape, description="says:N"
        ),
    ]
    layers += _names(_ends(points, x, log), across, up, colour)
    layers += [
        alt.Chart(alt.Data(values=_printable(some)))
        .mark_point(shape=_CROSS, size=90, strokeWidth=2.5, opacity=1)
        .encode(across, colour, y=height, description="says:N")
        for some, height in _heights(crosses, up)
    ]
    chart = alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, background="transparent")
    return str(vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).to_dict()))


def _names(ends: Sequence[dict[str, Any]], across: Any, up: Any, colour: Any) -> list[Any]:
    """The layers with the servers' names, and a thin line from each to its point."""
    import altair as alt  # late: slow to import

    chart = alt.Chart(alt.Data(values=_printable(ends)))
    to_its_point = chart.mark_rule(strokeWidth=0.7, strokeDash=[2, 2])
    name = chart.mark_text(align="left", fontSize=11)
    right, said = alt.value(_WIDTH + 8), "server:N"
    return [
        to_its_point.encode(across, up, colour, x2=right, y2="beside:Q", description=said),
        name.encode(alt.Y("beside:Q"), colour, x=right, text=said, description=said),
    ]


def _ends(points: Sequence[dict[str, Any]], x: str, log: bool) -> list[dict[str, Any]]:
    """Each server's last point, with the value at whose height its name stands.

    Names stand in a column right of the picture, a line apart, as near to their points as the
    others allow.
    """
    placed = [point for point in points if point["value"] is not None]
    if not placed:
        return []
    down, up = (math.log, math.exp) if log else (float, float)
    reach = [down(point[key]) for point in placed for key in ("value", "low", "high")]
    foot, top = (min(reach), max(reach)) if log else (0.0, 1.0)
    apart = ((top - foot) or 1.0) * _LINE / _HEIGHT
    last = {point["server"]: point for point in sorted(placed, key=lambda point: point[x])}
    found: list[dict[str, Any]] = []
    highest = top + apart
    for point in sorted(last.values(), key=lambda point: -point["value"]):
        highest = min(down(point["value"]), highest - apart)
        found.append({**point, "height": highest})
    lowest = foot - apart
    for point in reversed(found):  # those that were pushed below the foot go up again
        lowest = max(point.pop("height"), lowest + apart)
        point["beside"] = up(lowest)
    return found


def _heights(
    crosses: Sequence[dict[str, Any]], up: Any
) -> Iterable[tuple[Sequence[dict[str, Any]], Any]]:
    """Crosses with their height: at their figure, or stacked at the foot if they have none."""
    import altair as alt  # late: slow to import

    placed = [point for point in crosses if point["value"] is not None]
    if placed:
        yield placed, up
    stacked: dict[int, list[dict[str, Any]]] = {}
    for point in crosses:
        if point["value"] is None:
            under = sum(p["clients"] == point["clients"] for some in stacked.values() for p in some)
            stacked.setdefault(under, []).append(point)
    for under, some in stacked.items():
        yield some, alt.value(_HEIGHT - 8 - 14 * under)
