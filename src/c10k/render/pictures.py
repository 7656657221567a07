"""Pictures of a session as SVG text: one colour and one marker a framework, throughout.

Drawn by Vega-Lite without a browser. Each mark's label begins with its server's name, which
is what the page's filters go by; text and axes take the page's own colour, so that a
picture is legible in light and in dark.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hdrh.histogram import HdrHistogram
from msgspec import Struct

from .. import histograms
from ..model import Judged, Row, Session, Spread
from ..plain import plain
from .table import kind_of, significant

# Okabe & Ito's colours, legible to the colour-blind, and Vega's shapes
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8f7f00", "#7f7f7f",
)  # fmt: skip
SHAPES = (
    "circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right",
    "triangle-left",
)  # fmt: skip
KNOWN = ("asyncio", "threads", "gevent", "uvloop", "twisted", "trio", "curio", "epoll")
_INK = "currentColor"
_WIDTH, _HEIGHT = 640, 340
_CROSS = "M-1,-1L1,1M1,-1L-1,1"  # as a path: Vega's own cross is a plus
_PERCENTILES = (0, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99, 99.999)


class Look(Struct, frozen=True):
    """How a framework is drawn, in every picture alike."""

    colour: str
    shape: str


class Picture(Struct, frozen=True):
    """One picture: what it shows, in words too, and its SVG."""

    name: str  # for its address in the page
    title: str
    says: str  # what is on the axes and what the bars mean
    svg: str


def family(server: str) -> str:
    """A server's framework, as its file is named: asyncio_streams → asyncio."""
    return server.partition("_")[0].partition("-")[0]


def looks(families: Sequence[str]) -> dict[str, Look]:
    """A colour and a marker for each; those of KNOWN are the same in every page."""
    order = [*KNOWN, *(each for each in families if each not in KNOWN)]
    return {
        each: Look(COLOURS[i % len(COLOURS)], SHAPES[(i + i // len(SHAPES)) % len(SHAPES)])
        for i, each in enumerate(order)
    }


def pictures(session: Session, judged: Judged) -> tuple[Picture, ...]:
    """All pictures that this session has data for."""
    rows = [row for row in judged.rows if row.server != judged.control]
    drawn = [
        _ladder(rows, *which)
        for which in (
            ("throughput", "Throughput", "messages/s, closed loop", _rate),
            ("latency", "p99 latency in the closed loop", "ms", _p99),
            ("silence", "The longest that any client waited", "s, closed loop", _silence),
            ("fairness", "Fairness (Jain's index)", "1: all clients got the same", _fairness),
            ("cost", "CPU time per message", "µs, closed loop", _cost),
            ("floor", "CPU time per message, over the C server's", "times", _over_floor),
            ("memory", "Memory of all clients together", "MiB over no client", _memory),
        )
    ]
    drawn += [_curves(session, judged, kind) for kind in ("open", "storm", "closed")]
    return tuple(picture for picture in drawn if picture is not None)


_Figure = Callable[[Row], tuple[Spread | None, float]]


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
    rows: Sequence[Row], name: str, title: str, unit: str, figure: _Figure
) -> Picture | None:
    """A figure of the closed loop over the number of clients, with its range over the blocks."""
    points, failed = [], []
    for row in rows:
        spread, scale = figure(row)
        if kind_of(row) != "closed":
            continue
        where = {"server": row.server, "family": family(row.server), "clients": row.clients}
        if row.status == "failed":
            said = f"{row.server}, {row.clients:,} clients: failed: {row.reason}"
            failed.append({**where, "says": said})
        if spread is None or spread.least * scale <= 0 or not row.blocks:
            continue
        values = [part * scale for part in (spread.median, spread.least, spread.greatest)]
        said = f"{significant(values[0])} ({significant(values[1])} to {significant(values[2])})"
        points.append(
            {
                **where,
                "value": values[0],
                "low": values[1],
                "high": values[2],
                "says": f"{row.server}, {row.clients:,} clients: {said} {unit}",
            }
        )
    if len({point["clients"] for point in points}) < 2:
        return None
    says = f"{unit}, over the number of clients; bars are the range over the blocks"
    says += "; × at the foot: failed" if failed else ""
    svg = _chart(points, "clients", "clients", unit, log=name != "fairness", failed=failed)
    return Picture(name, title, says, svg)


def _curves(session: Session, judged: Judged, kind: str) -> Picture | None:
    """Latency by percentile, at the greatest client count of a kind and its highest rate."""
    loads = [load for load in session.plan.workload.loads if load.kind == kind]
    if not loads:
        return None
    load = max(loads, key=lambda each: (each.clients, each.rate, -each.message_bytes))
    merged: dict[str, HdrHistogram] = {}
    for m in session.measurements:
        held = m.latency.histogram if m.latency else ""
        if m.trial.load == load and m.accepted and held:
            into = merged.setdefault(m.trial.server, histograms.empty())
            into.add(histograms.decoded(held))
    points = []
    for server, histogram in merged.items():
        count = histogram.get_total_count()
        for percent in _PERCENTILES:
            if server == judged.control or count * (100 - percent) < 100:
                continue
            value = histogram.get_value_at_percentile(percent) / 1e6
            points.append(
                {
                    "server": server,
                    "family": family(server),
                    "beyond": 100 / (100 - percent),
                    "value": max(value, 1e-3),
                    "says": f"{server}, {load.clients:,} clients, p{percent:g}: "
                    f"{significant(value)} ms",
                }
            )
    if not points:
        return None
    what = "Time to a client's first echo" if kind == "storm" else "Latency"
    return Picture(
        f"percentiles-{kind}",
        f"{what} by percentile, {load.label}, {load.clients:,} clients",
        "ms, over 1/(1 - percentile): 10 is p90, 100 is p99; all accepted trials together",
        _chart(points, "beyond", "1/(1 - percentile)", "ms"),
    )


def _printable(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stands in the SVG's text and labels is plain, whatever a server is called."""
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
    failed: Sequence[dict[str, Any]] = (),
) -> str:
    import altair as alt  # late: slow to import
    import vl_convert

    styles = looks(sorted({plain(point["family"]) for point in points}))
    families = [name for name in styles if any(plain(p["family"]) == name for p in points)]
    axis: dict[str, Any] = {
        "labelColor": _INK, "titleColor": _INK, "tickColor": _INK, "domainColor": _INK,
        "gridColor": _INK, "gridOpacity": 0.15, "format": "~s", "labelFontSize": 12,
        "titleFontSize": 12,
    }  # fmt: skip
    across = alt.X(
        f"{x}:Q",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(title=x_title, labelOverlap=True, **axis),
    )
    scale = alt.Scale(type="log", nice=False, padding=8) if log else alt.Scale(domain=[0, 1])
    up = alt.Y("value:Q", scale=scale, axis=alt.Axis(title=y_title, **axis))
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
        base.mark_line().encode(across, up, colour, detail="server:N", description="server:N")
    ]
    if "low" in points[0]:
        bars = base.mark_rule(strokeWidth=1.5)
        layers.append(
            bars.encode(across, alt.Y("low:Q"), colour, y2="high:Q", description="says:N")
        )
    marks = base.mark_point(filled=True, size=60, opacity=1)
    layers.append(marks.encode(across, up, colour, shape, description="says:N"))
    if failed:
        crosses = alt.Chart(alt.Data(values=_printable(failed)))
        crosses = crosses.mark_point(shape=_CROSS, size=90, strokeWidth=2.5, opacity=1)
        layers.append(
            crosses.encode(across, colour, y=alt.value(_HEIGHT - 8), description="says:N")
        )
    chart = alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, background="transparent")
    return str(vl_convert.vegalite_to_svg(chart.configure_view(stroke=None).to_dict()))
