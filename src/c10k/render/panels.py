"""One picture of what an interpreter's lock costs and gives: a panel for each figure.

Each panel has a line for each server and a mark for each interpreter. All panels share the
order of the servers. A figure that is not compared (the server failed, or every trial was gated)
is pale.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from ..model import Judged, Row, Spread
from ..text import plain
from .columns import stands
from .looks import AXIS, COLOURS, INK, SHAPES
from .numbers import SHOWN, client_count, significant

_WIDTH, _STEP = 150, 22


class Panel(Struct, frozen=True):
    """A figure, and the load under which it is drawn: the greatest client count that has it."""

    title: str
    figure: str
    fits: Callable[[Row], bool]
    from_zero: bool = False


PANELS = (
    Panel("throughput", "messages_per_s", lambda row: row.load.facts.closed_loop),
    Panel("p99", "latency_p99_us", lambda row: row.load.facts.scheduled),
    Panel("fairness", "fairness", lambda row: row.load.facts.closed_loop, from_zero=True),
    Panel("memory", "memory_per_client_bytes", lambda row: not row.load.facts.rate),
    Panel("connect time", "connect_s", lambda row: not row.load.facts.waits_at_barrier),
)


def points(judged: Judged, panel: Panel) -> list[dict[str, Any]]:
    """What a panel draws: server, interpreter, value in the shown unit, label."""
    fitting = [
        row
        for row in judged.rows
        if row.interpreter and row.server != judged.control and panel.fits(row)
    ]
    known = [row for row in fitting if getattr(row, panel.figure) is not None]
    if not known:
        return []
    load = max((row.load for row in known), key=lambda load: (load.clients, load.rate))
    return [_point(row, panel) for row in known if row.load == load]


def _point(row: Row, panel: Panel) -> dict[str, Any]:
    spread: Spread = getattr(row, panel.figure)
    shown = SHOWN[panel.figure]
    value, least, greatest = (
        part * shown.scale for part in (spread.median, spread.least, spread.greatest)
    )
    where = f"{row.load.label}, {client_count(row.clients)}"
    said = f"{significant(value)} ({significant(least)} to {significant(greatest)})"
    why = "" if stands(row) else f", not compared: {row.reason}"
    return {
        "server": plain(row.contender),
        "interpreter": plain(row.interpreter),
        "value": value,
        "low": least,
        "high": greatest,
        "compared": "yes" if stands(row) else "no",
        "where": where,
        "says": plain(f"{row.server}, {where}: {shown.heading} {said}{why}"),
    }


def svg(judged: Judged) -> tuple[str, str]:
    """The picture as SVG, and what its panels show in words; "" without two interpreters."""
    drawn = [(panel, found) for panel in PANELS if (found := points(judged, panel))]
    labels = list(dict.fromkeys(row.interpreter for row in judged.rows if row.interpreter))
    if len(labels) < 2 or not drawn:
        return "", ""
    import altair as alt  # late: slow to import
    import vl_convert

    order = list(dict.fromkeys(point["server"] for _, found in drawn for point in found))
    charts = [
        _chart(panel, found, order, labels, first=index == 0)
        for index, (panel, found) in enumerate(drawn)
    ]
    chart = alt.hconcat(*charts, background="transparent").configure_view(stroke=None)
    says = "; ".join(
        f"{panel.title}: {SHOWN[panel.figure].heading}, {found[0]['where']}"
        for panel, found in drawn
    )
    return str(vl_convert.vegalite_to_svg(chart.to_dict())), says


def _chart(
    panel: Panel,
    found: Sequence[dict[str, Any]],
    order: Sequence[str],
    labels: Sequence[str],
    first: bool,
) -> Any:
    import altair as alt  # late: slow to import

    ink = {**AXIS, "labelFontSize": 11, "labelLimit": 200}
    scale = (
        alt.Scale(domain=[0, 1])
        if panel.from_zero
        else alt.Scale(type="log", nice=False, padding=10)
    )
    many = max(point["value"] for point in found) >= 1000
    axis = alt.Axis(
        title=SHOWN[panel.figure].heading, format="~s" if many else "~g", tickCount=4, **ink
    )
    across = alt.X("value:Q", scale=scale, axis=axis)
    down = alt.Y(
        "server:N", sort=list(order), scale=alt.Scale(domain=list(order)),
        axis=alt.Axis(title=None, labels=first, ticks=False, grid=True, **ink),
    )  # fmt: skip
    domain = list(map(plain, labels))
    ranges = {"colour": COLOURS[: len(domain)], "shape": SHAPES[: len(domain)]}
    legend = (
        alt.Legend(title=None, orient="top", labelColor=INK, labelFontSize=12, symbolOpacity=1)
        if first
        else None
    )
    colour = alt.Color(
        "interpreter:N", scale=alt.Scale(domain=domain, range=ranges["colour"]), legend=legend
    )
    shape = alt.Shape(
        "interpreter:N", scale=alt.Scale(domain=domain, range=ranges["shape"]), legend=legend
    )
    base = alt.Chart(alt.InlineData(values=list(found)))
    pale = alt.condition("datum.compared == 'yes'", alt.value(1), alt.value(0.35))
    layers = [
        base.mark_rule(strokeWidth=1.5).encode(
            alt.X("low:Q"), down, colour, x2="high:Q", description="says:N"
        ),
        base.mark_point(filled=True, size=60).encode(
            across, down, colour, shape, opacity=pale, description="says:N"
        ),
    ]
    title = alt.Title(panel.title, color=INK, fontSize=13)
    return alt.layer(*layers).properties(width=_WIDTH, height=alt.Step(_STEP), title=title)
