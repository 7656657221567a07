"""The servers under the loads of one kind, compared: ratios, verdicts, ranks. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from ..model import Load, Measurement, NoiseFloor, Row, Session, Verdict
from . import stats
from .cells import by_block, ratio_of
from .figures import FIGURES, MORE_IS_BETTER, server_cpu_us_per_message

SAME_MARGIN = 0.03  # "same": the ratio is shown to be within 3 % of 1
ALPHA = 0.05  # a table with any false claim in it is no oftener than this
VERDICTS_SHARE = 0.8  # of ALPHA: the verdicts'; the pairs that only ranks show have the rest

Values = Mapping[int, float | None]  # a figure by blocks
_Pair = tuple[Load, str, str]  # under this load, the one over the other


class _Table(NamedTuple):
    """What is printed as one: all loads of a kind."""

    rows: dict[Load, list[Row]]
    noise: list[NoiseFloor]
    warnings: list[str]


def table_compared(
    session: Session,
    table: Mapping[Load, Sequence[Row]],
    cells: Mapping[tuple[Load, str], Sequence[Measurement]],
) -> _Table:
    """The rows with ratio, verdict, rank and cost over the floor; and the noise floors."""
    reference, control = session.plan.workload.reference, session.plan.control
    values = {load: _comparable(load, rows, cells) for load, rows in table.items()}
    known = {load: of for load, of in values.items() if reference in of}
    noise, floors, warnings = _noise(known, reference, control)
    more_is_better = all(MORE_IS_BETTER[load.facts.primary] for load in table)
    family = {
        (load, *pair): stats.log_ratios(known[load][pair[0]], known[load][pair[1]])
        for load in noise
        for pair in _pairs(known[load].keys() - {control}, reference)
    }
    found = stats.compare(
        family,
        noise={pair: noise[pair[0]] for pair in family},
        margin=SAME_MARGIN,
        more_is_better=more_is_better,
        alpha=ALPHA,
        weights=_weights(family, reference),
    )
    judged = {}
    for load, rows in table.items():
        bound = {row.server for row in rows if row.bound}
        words = {
            pair: each.verdict if _stands(each.verdict, pair[1], pair[2], bound) else "not resolved"
            for pair, each in found.items()
            if pair[0] == load
        }
        ranks = _ranks(known[load].keys() - {control}, words) if load in noise else {}
        costs = _over_floor(load, rows, cells)
        judged[load] = [
            _placed(row, load, values[load], reference, control, words, ranks, costs)
            for row in rows
        ]
    if reference and (without := [load for load in table if load not in known]):
        warnings.insert(
            0,
            f"no ratio, verdict or rank where {reference}, which the others are compared with, "
            f"failed, was gated or lacks the figure: {_named(without)}",
        )
    return _Table(judged, floors, warnings)


def _comparable(
    load: Load, rows: Sequence[Row], cells: Mapping[tuple[Load, str], Sequence[Measurement]]
) -> dict[str, Values]:
    """The figure that the load is about, of each server whose row stands."""
    name = load.facts.primary
    found = {
        row.server: by_block(cells[load, row.server], FIGURES[name])
        for row in rows
        if row.status == "ok" and getattr(row, name) is not None
    }
    return {server: known for server, known in found.items() if _any(known)}


def _any(values: Values) -> bool:
    return any(value is not None for value in values.values())


def _noise(
    values: Mapping[Load, Mapping[str, Values]], reference: str, control: str
) -> tuple[dict[Load, float], list[NoiseFloor], list[str]]:
    """What the reference shows against itself: by load, to print, and where it should not.

    It is an estimate from the same few blocks as all else, so it may come out too small; the
    control that is told apart from its reference is said, as nothing should do that.
    """
    itself = {
        load: stats.log_ratios(of[control], of[reference])
        for load, of in values.items()
        if control in of
    }
    itself = {load: ratios for load, ratios in itself.items() if ratios}
    found = stats.compare(itself, noise=0.0, margin=SAME_MARGIN, alpha=ALPHA)
    noise = {load: stats.noise_floor(each.interval) for load, each in found.items()}
    floors = [NoiseFloor(load, ratio_of(each.interval)) for load, each in found.items()]
    apart = [load for load, each in found.items() if each.verdict in ("faster", "slower")]
    said = (
        f"{control} is {reference} under another name, and yet was told apart from it: "
        f"{_named(apart)}. Something besides the servers differs there: trust no small difference"
    )
    finite = {load: floor for load, floor in noise.items() if floor < float("inf")}
    return finite, floors, [said] * bool(apart)


def _named(loads: Iterable[Load]) -> str:
    return ", ".join(f"{load.label} at {load.clients:,}" for load in loads)


def _pairs(servers: Iterable[str], reference: str) -> Iterable[tuple[str, str]]:
    """Every two of them, the reference always the second."""
    for a, b in combinations(sorted(servers), 2):
        yield (b, a) if a == reference else (a, b)


def _weights(family: Iterable[_Pair], reference: str) -> dict[_Pair, float]:
    """How a table's rate of false claims is shared out: most of it for what it prints."""
    pairs = list(family)
    verdicts = sum(against == reference for *_, against in pairs)
    others = len(pairs) - verdicts
    return {
        pair: VERDICTS_SHARE / verdicts if pair[2] == reference else (1 - VERDICTS_SHARE) / others
        for pair in pairs
    }


def _placed(
    row: Row,
    load: Load,
    values: Mapping[str, Values],
    reference: str,
    control: str,
    words: Mapping[_Pair, Verdict],
    ranks: Mapping[str, tuple[int, int]],
    costs: Mapping[str, float],
) -> Row:
    """A row with what the comparisons say of it."""
    best, worst = ranks.get(row.server, (None, None))
    row = replace(row, rank=best, rank_worst=worst, cpu_over_floor=costs.get(row.server))
    if row.server in (reference, control) or not {row.server, reference} <= values.keys():
        return row
    ratios = stats.log_ratios(values[row.server], values[reference])
    if not ratios:
        return row
    return replace(
        row,
        ratio=ratio_of(stats.median_interval(ratios, 1 - ALPHA)),
        verdict=words.get((load, row.server, reference), "not resolved"),
    )


def _over_floor(
    load: Load, rows: Sequence[Row], cells: Mapping[tuple[Load, str], Sequence[Measurement]]
) -> dict[str, float]:
    """CPU time per message over that of the C floor, of the servers whose rows stand."""
    costs = {
        row.server: by_block(cells[load, row.server], server_cpu_us_per_message)
        for row in rows
        if row.status == "ok"
    }
    floor = next((row.server for row in rows if row.tier == "floor" and row.server in costs), "")
    found = {
        server: stats.median(ratios)
        for server, known in costs.items()
        if floor and (ratios := stats.log_ratios(known, costs[floor]))
    }
    return {server: float(np.exp(log)) for server, log in found.items() if np.isfinite(log)}


def _stands(verdict: str, server: str, against: str, bound: set[str]) -> bool:
    """A bound (at least so fast) supports only that it is faster than what is not bound."""
    if server in bound:
        return verdict == "faster" and against not in bound
    return verdict == "slower" if against in bound else True


def _ranks(servers: Iterable[str], words: Mapping[_Pair, Verdict]) -> dict[str, tuple[int, int]]:
    """Ranks with ties, by the claims of a load, those against the reference among them."""
    claims = [
        (a, b) if word == "faster" else (b, a)
        for (_, a, b), word in words.items()
        if word in ("faster", "slower")
    ]
    return stats.ranks_with_ties(servers, claims)
