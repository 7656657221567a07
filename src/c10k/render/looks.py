"""How pictures look: one colour and one marker for each framework, and the axes.

Text and axes take the page's own colour, so a picture is legible in light and in dark mode.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

# Okabe & Ito's colours, which colour-blind readers can tell apart, and Vega's shapes
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8f7f00", "#7f7f7f",
)  # fmt: skip
SHAPES = (
    "circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right",
    "triangle-left",
)  # fmt: skip
KNOWN = ("asyncio", "threads", "gevent", "uvloop", "twisted", "trio", "curio", "epoll")
INK = "currentColor"
AXIS: Mapping[str, Any] = {
    "labelColor": INK, "titleColor": INK, "tickColor": INK, "domainColor": INK,
    "gridColor": INK, "gridOpacity": 0.15, "labelFontSize": 12, "titleFontSize": 12,
}  # fmt: skip


class Look(Struct, frozen=True):
    """How a framework is drawn, the same in every picture."""

    colour: str
    shape: str


def family(server: str) -> str:
    """A server's framework, as its file is named: asyncio_streams → asyncio."""
    return server.partition("_")[0].partition("-")[0]


def looks(families: Sequence[str]) -> dict[str, Look]:
    """Framework → colour and marker; those of KNOWN are the same on every page."""
    order = [*KNOWN, *(each for each in families if each not in KNOWN)]
    return {
        each: Look(COLOURS[i % len(COLOURS)], SHAPES[(i + i // len(SHAPES)) % len(SHAPES)])
        for i, each in enumerate(order)
    }
