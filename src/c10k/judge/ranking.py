"""Compares the servers under the loads of one kind: ratios, verdicts, ranks. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from ..model import Load, Measurement, NoiseFloor, Row, Session, Verdict
from . import stats
from .cells import Cell, by_block, ratio_of
from .figures import FIGURES, MORE_IS_BETTER, server_cpu_us_per_message

SAME_MARGIN = 0.03  # "same": the ratio is shown to be within 3 % of 1
ALPHA = 0.05  # the greatest probability that a table contains a false claim
VERDICTS_SHARE = 0.8  # share of ALPHA for verdicts; the rest is for pairs that only ranks show

Values = Mapping[int, float | None]  # block → figure
_Pair = tuple[Load, str, str]  # under this load, the first server over the second


class Comparisons(NamedTuple):
    """What is printed as one table: the rows of all loads of one kind, with their comparisons."""

    rows: dict[Load, list[Row]]
    noise: list[NoiseFloor]
    warnings: list[str]


class _Field(NamedTuple):
    """The servers under one load that can be compared."""

    load: Load
    rows: Sequence[Row]
    values: Mapping[str, Values]  # server → the load's primary figure
    costs: Mapping[str, float]  # server → CPU time per message over the C floor's
    reference: str
    control: str

    @property
    def known(self) -> bool:
        """Whether there is a reference to compare with."""
        return self.reference in self.values

    @property
    def ranked(self) -> list[str]:
        """The servers that get a rank: all but the control, which repeats the reference."""
        return sorted(self.values.keys() - {self.control})

    def ratios(self, server: str, against: str) -> tuple[float, ...]:
        """The log-ratios of two servers, one for each block that both have."""
        return stats.log_ratios(self.values[server], self.values[against])

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Every pair of ranked servers; the reference is always the second."""
        for a, b in combinations(self.ranked, 2):
            yield (b, a) if a == self.reference else (a, b)

    def stands(self, verdict: str, server: str, against: str) -> bool:
        """Whether the verdict holds although figures are bounds ("at least this fast").

        A bound can only show that its server is faster than one without a bound.
        """
        bound = {row.server for row in self.rows if row.bound}
        if server in bound:
            return verdict == "faster" and against not in bound
        return verdict == "slower" if against in bound else True

    def placed(self, verdicts: Mapping[tuple[str, str], Verdict], noisy: bool) -> list[Row]:
        """The rows with ratio, verdict and rank. noisy: no noise floor is known, so no rank."""
        claims = [
            pair if word == "faster" else pair[::-1]
            for pair, word in verdicts.items()
            if word in ("faster", "slower")
        ]
        ranks = {} if noisy else stats.ranks_with_ties(self.ranked, claims)
        floors = {row.server for row in self.rows if row.tier == "floor"}
        among = [pair for pair in claims if not floors & set(pair)]
        better = stats.ranks_with_ties(ranks.keys() - floors, among)
        return [
            replace(
                self._placed(row, verdicts, ranks),
                shown_better=better[row.server][0] - 1 if row.server in better else None,
            )
            for row in self.rows
        ]

    def _placed(
        self,
        row: Row,
        verdicts: Mapping[tuple[str, str], Verdict],
        ranks: Mapping[str, tuple[int, int]],
    ) -> Row:
        best, worst = ranks.get(row.server, (None, None))
        over_floor = self.costs.get(row.server)
        row = replace(row, rank=best, rank_worst=worst, cpu_over_floor=over_floor)
        both = {row.server, self.reference} <= self.values.keys()
        if row.server in (self.reference, self.control) or not both:
            return row
        ratios = self.ratios(row.server, self.reference)
        if not ratios:
            return row
        return replace(
            row,
            ratio=ratio_of(stats.median_interval(ratios, 1 - ALPHA)),
            verdict=verdicts.get((row.server, self.reference), "not resolved"),
        )


def compared(
    session: Session,
    table: Mapping[Load, Sequence[Row]],
    cells: Mapping[Cell, Sequence[Measurement]],
) -> Comparisons:
    """The rows with ratio, verdict, rank and cost over the floor; noise floors and warnings."""
    reference, control = session.plan.workload.reference, session.plan.control
    fields = [
        _Field(
            load,
            rows,
            _comparable(load, rows, cells),
            _over_floor(load, rows, cells),
            reference,
            control,
        )
        for load, rows in table.items()
    ]
    noise, floors, warnings = _noise([field for field in fields if field.known], reference, control)
    verdicts = _verdicts([field for field in fields if field.load in noise], noise)
    if reference and (without := [field.load for field in fields if not field.known]):
        warnings.insert(
            0,
            f"no ratio, verdict or rank where {reference}, which the others are compared with, "
            f"failed, was gated or lacks the figure: {_named(without)}",
        )
    placed = {
        field.load: field.placed(verdicts.get(field.load, {}), field.load not in noise)
        for field in fields
    }
    return Comparisons(placed, floors, warnings)


def _verdicts(
    fields: Sequence[_Field], noise: Mapping[Load, float]
) -> dict[Load, dict[tuple[str, str], Verdict]]:
    """The verdict on each pair under each load; all of them are one family."""
    if not fields:
        return {}
    family = {(f.load, *pair): f.ratios(*pair) for f in fields for pair in f.pairs()}
    found = stats.compare(
        family,
        noise={pair: noise[pair[0]] for pair in family},
        margin=SAME_MARGIN,
        more_is_better=MORE_IS_BETTER[fields[0].load.facts.primary],
        alpha=ALPHA,
        weights=_weights(family, fields[0].reference),
    )
    words: dict[Load, dict[tuple[str, str], Verdict]] = {field.load: {} for field in fields}
    for field in fields:
        for a, b in field.pairs():
            verdict = found[field.load, a, b].verdict
            words[field.load][a, b] = verdict if field.stands(verdict, a, b) else "not resolved"
    return words


def _comparable(
    load: Load, rows: Sequence[Row], cells: Mapping[Cell, Sequence[Measurement]]
) -> dict[str, Values]:
    """The load's primary figure by block, of each server whose row is ok."""
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
    fields: Sequence[_Field], reference: str, control: str
) -> tuple[dict[Load, float], list[NoiseFloor], list[str]]:
    """The noise floors: as log-ratios by load, for printing, and as warnings.

    A floor is the difference between the reference and itself. It is estimated from the same
    few blocks as everything else, so it may be too small. A control that differs from its
    reference is a warning, because nothing should make them differ.
    """
    itself = {
        field.load: ratios
        for field in fields
        if control in field.values and (ratios := field.ratios(control, reference))
    }
    found = stats.compare(itself, noise=0.0, margin=SAME_MARGIN, alpha=ALPHA)
    noise = {load: stats.noise_floor(each.interval) for load, each in found.items()}
    floors = [NoiseFloor(load, ratio_of(each.interval)) for load, each in found.items()]
    apart = [load for load, each in found.items() if each.verdict in ("faster", "slower")]
    said = (
        f"{control} is {reference} under another name, and yet the two differ: "
        f"{_named(apart)}. Something besides the servers differs there: trust no small difference"
    )
    finite = {load: floor for load, floor in noise.items() if floor < float("inf")}
    return finite, floors, [said] * bool(apart)


def _named(loads: Iterable[Load]) -> str:
    return ", ".join(f"{load.label} at {load.clients:,}" for load in loads)


def _weights(family: Iterable[_Pair], reference: str) -> dict[_Pair, float]:
    """Each comparison's share of a table's rate of false claims; most is for printed verdicts."""
    pairs = list(family)
    verdicts = sum(against == reference for *_, against in pairs)
    others = len(pairs) - verdicts
    return {
        pair: VERDICTS_SHARE / verdicts if pair[2] == reference else (1 - VERDICTS_SHARE) / others
        for pair in pairs
    }


def _over_floor(
    load: Load, rows: Sequence[Row], cells: Mapping[Cell, Sequence[Measurement]]
) -> dict[str, float]:
    """CPU time per message over that of the C floor, for the servers whose rows are ok."""
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
