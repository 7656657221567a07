"""Claims' outcomes → terminal, Markdown and the page's section: verdict first, then evidence."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.text import Text

from ..judge import stats
from ..model import ClaimFigure, ClaimPart, ClaimsHead, Outcome
from ..plan.gates import ALLOWED
from ..text import plain
from . import markdown, numbers, table

_STYLES = {"supported": "green", "refuted": "red", "depends": "yellow", "not resolved": "cyan"}


class Outcomes(Struct, frozen=True):
    """The outcomes of one run of `c10k claims`, and the name under which they are shown."""

    name: str
    head: ClaimsHead
    outcomes: tuple[Outcome, ...]


def heading(found: Outcomes) -> str:
    """Which outcomes these are, when they were measured, and with which Python."""
    machine = found.head.environment
    made = ", quick" if found.head.quick else ""
    version = machine.get("python", {}).get("version", "")
    return f"{found.name}: {found.head.started_at[:10]}{made}, Python {version}"


def remarks(found: Outcomes) -> list[str]:
    """How to read the outcomes, and what may have disturbed them."""
    said = [
        "A figure decides when its median's whole 95 % interval is on one side of the bound; "
        "a yes-or-no outcome, when it was the same each time."
    ]
    for each in found.outcomes:
        others = each.noise.others_cores
        if others is not None and others > ALLOWED.others:
            said.append(f"{each.claim}: other processes kept {others:.2f} cores busy meanwhile")
    return said


def figure(each: ClaimFigure) -> str:
    """A median with its unit and its 95 % interval, as text."""
    unit = f" {each.unit}" if each.unit else ""
    number = f"{_number(each.median)}{unit}"
    if each.low is None or each.high is None:
        few = each.repetitions < stats.MIN_BLOCKS
        return f"{number} (too few repetitions for an interval)" if few else number
    if each.low == each.high:
        return f"{number} each time"
    return f"{number} ({_number(each.low)} to {_number(each.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else numbers.significant(value)


def evidence(part: ClaimPart) -> str:
    """A part's figures on one line."""
    return "; ".join(f"{each.name} {figure(each)}" for each in part.figures) or numbers.UNKNOWN


def grid(outcome: Outcome) -> table.Table:
    """An outcome's parts as a table."""
    return table.Table(
        "",
        (("verdict", False), ("of what", False), ("figures", False)),
        tuple(
            table.Line((part.decision or "for comparison", part.what, evidence(part)), "ok")
            for part in outcome.parts
        ),
    )


def on_terminal(found: Outcomes) -> RenderableType:
    """Each claim with its verdict, and its parts below it."""
    shown: list[RenderableType] = [Text(plain(heading(found)))]
    shown += [Text(f"  {plain(line)}", style="dim") for line in remarks(found)]
    for each in found.outcomes:
        title = Text("\n")
        title.append(f"{each.decision.upper()}  ", style=_STYLES.get(each.decision, ""))
        title.append(plain(each.words), style="bold")
        shown.append(title)
        if each.reason:
            shown.append(Text(f"  The experiment could not be run: {plain(each.reason)}", "red"))
        for part in each.parts:
            line = Text("  ")
            line.append(
                f"{part.decision or 'for comparison':14} ", style=_STYLES.get(part.decision, "dim")
            )
            line.append(plain(f"{part.what}: {evidence(part)}"))
            shown.append(line)
    return Group(*shown)


def as_markdown(found: Outcomes) -> str:
    """A table of verdicts, then each claim with its experiment, rule and evidence."""
    parts = [f"{markdown.escape(heading(found))}.\n"]
    parts.append("".join(f"- {markdown.escape(line)}\n" for line in remarks(found)))
    parts.append(markdown.grid(summary(found.outcomes)))
    for each in found.outcomes:
        parts.append(f"### {markdown.escape(each.words)}\n")
        parts.append(f"**{each.decision.capitalize()}.** {markdown.escape(each.experiment)}\n")
        if each.reason:
            parts.append(f"The experiment could not be run: {markdown.escape(each.reason)}\n")
        parts.append(f"*Rule*: {markdown.escape(each.rule)}\n")
        parts.append(markdown.grid(grid(each)))
    return "\n".join(parts)


def summary(outcomes: Sequence[Outcome]) -> table.Table:
    """A table with one line per claim."""
    return table.Table(
        "",
        (("claim", False), ("verdict", False), ("of its parts", False)),
        tuple(
            table.Line((each.words, each.decision, counted(each.parts)), "ok") for each in outcomes
        ),
    )


def counted(parts: Iterable[ClaimPart]) -> str:
    """How many parts have each verdict: "6 supported, 1 refuted"."""
    found = [part.decision for part in parts if part.decision]
    return ", ".join(f"{found.count(each)} {each}" for each in dict.fromkeys(found)) or "none"
