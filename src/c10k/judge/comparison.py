"""Builds a comparison: its rows, its warnings, and advice what to run next. Pure."""

import math
from collections.abc import Iterable, Sequence

from ..errors import UserError
from ..model import Compared, ComparedVerdict, Comparison, Ratio, Session, Spread
from .cells import Cell
from .evidence import ALPHA, ONE

BREAKING = "breaking_point"  # the figure of a search


class NothingInCommon(UserError):
    """Two sides that share no server under any load; the message lists what each has."""


def blocks_for(comparisons: int) -> int:
    """The fewest blocks with which one of so many comparisons can be claimed at all.

    With n blocks Wilcoxon's p is never below 2^(1-n), and Holm compares the smallest p with
    ALPHA / comparisons.
    """
    return 1 + math.ceil(math.log2(max(1, comparisons) / ALPHA))


def row_of(
    cell: Cell,
    figure: str,
    spreads: tuple[Spread | None, Spread | None],
    ratio: Ratio | None,
    verdict: ComparedVerdict,
    reason: str = "",
) -> Compared:
    load, server = cell
    return Compared(
        server=server,
        load=load,
        figure=figure,
        primary=figure in (load.facts.primary, BREAKING),
        a=spreads[0],
        b=spreads[1],
        ratio=ratio,
        verdict=verdict,
        reason=reason,
    )


def comparison_of(
    names: tuple[str, str],
    rows: Sequence[Compared],
    said: Sequence[str],
    firsts: tuple[Session, Session],
) -> Comparison:
    warnings = [line for line in said if line]
    if any(row.reason == ONE for row in rows):
        warnings.append(ONE)
    first = next((row for row in rows if row.verdict == "cannot be told"), rows[0])
    return Comparison(
        names[0], names[1], tuple(rows), tuple(warnings), _advice(first, firsts, len(rows))
    )


def _advice(row: Compared, firsts: tuple[Session, Session], rows: int) -> str:
    """A command that runs both in one session, by turns, to decide what these sessions do not."""
    workload = firsts[0].plan.workload.name
    if cores := firsts[0].plan.workload.server_cores:
        workload += f" --server-cores {cores}"
    new, slash, old = row.server.partition(" / ")
    if slash:
        had = len({m.trial.block for m in firsts[0].measurements})
        blocks = max(blocks_for(rows), 2 * had if firsts[0].plan.control else 0)
        return f"c10k race {old} {new} {workload} --blocks {blocks}"
    on = [session.runtimes.get(row.server) for session in firsts]
    versions = [each.versions if each else {} for each in on]
    changed = [
        name for name in versions[0] if versions[1].get(name) not in (None, versions[0][name])
    ]
    if changed and "@" not in row.server:
        pair = (f"{row.server}@{changed[0]}=={each[changed[0]]}" for each in versions)
        return f"c10k race {' '.join(pair)} {workload}"
    return f"c10k race OLD NEW {workload}, with two files or versions of {row.server}"


def cores_differ(sessions: Iterable[Session]) -> str:
    """That the sessions' servers had different numbers of cores; "" when they had not."""
    asked = {session.plan.workload.server_cores for session in sessions}
    if len(asked) < 2:
        return ""
    told = sorted(str(cores) if cores else "one for each process" for cores in asked)
    return f"the servers had different numbers of cores (--server-cores): {', '.join(told)}"


def what_it_has(session: Session) -> str:
    """The session's servers and loads in words, for the message of NothingInCommon."""
    counts: dict[str, list[str]] = {}
    for load in session.plan.workload.loads:
        counts.setdefault(load.label, []).append(f"{load.clients:,}")
    loads = (f"{label} (clients: {' '.join(each)})" for label, each in counts.items())
    names = ", ".join(server.name for server in session.plan.servers)
    return f"{names} under {', '.join(loads)}"
