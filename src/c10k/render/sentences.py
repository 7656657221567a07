"""The sentences around a session's tables: heading, remarks, footers."""

from collections.abc import Callable, Sequence

from ..model import Judged, Row
from ..text import on_interpreter
from .columns import FAIR, good_blocks, is_uneven, rows, stands
from .numbers import client_count, ratio


def heading(judged: Judged) -> str:
    """One line: what was run, when and where, and what there makes figures hard to compare."""
    environment = judged.environment
    cpu = environment.get("cpu", {}).get("model") or "unknown CPU"
    allowed = environment.get("cpu", {}).get("cores_allowed")
    cores = len(allowed) if isinstance(allowed, list) else 0
    kernel = environment.get("system", {}).get("kernel") or ""
    where = [
        f"{cores} cores of {cpu}" if cores else f"{cpu}",
        *(["a virtual machine"] if environment.get("cpu", {}).get("virtual_machine") else []),
        f"Linux {kernel}",
        _interpreters(judged),
        *(["a modified tree"] if environment.get("suite", {}).get("modified") else []),
    ]
    return f"{judged.workload.title}. {judged.started_at[:10]}, {', '.join(where)}"


def _interpreters(judged: Judged) -> str:
    """What the servers ran on and how it was built; where no row tells, what ran the suite."""
    found = {
        on_interpreter(row.python, row.build or _build_here(judged, row.python), row.gil)
        for row in judged.rows
        if row.python
    }
    if len(found) > 1:
        return f"{len(found)} interpreters"
    here = str(judged.environment.get("python", {}).get("version") or "")
    return f"Python {(found or {on_interpreter(here, _build_here(judged, here), None)}).pop()}"


def _build_here(judged: Judged, version: str) -> tuple[str, ...]:
    """The build flags of the interpreter that ran the suite, if that has this version."""
    about = judged.environment.get("python", {})
    flags = about.get("optimisation")
    if not isinstance(flags, list) or about.get("version") != version:
        return ()
    return tuple(map(str, flags))


def remarks(judged: Judged) -> tuple[str, ...]:
    """What must be read with the numbers: limits first, then each row's reason and notes.

    A remark that applies to several rows is printed once for all of them.
    """
    shown = rows(judged)
    noted: dict[str, dict[str, None]] = {}  # note → servers, each once
    for row in judged.rows:
        for note in row.notes:
            noted.setdefault(note, {})[row.server] = None
    return (
        *judged.warnings,
        *_reasons(shown),
        *(said for remark in _REMARKS if (said := remark(shown))),
        *(f"{', '.join(servers)}: {note}" for note, servers in noted.items()),
    )


def _reasons(shown: Sequence[Row]) -> list[str]:
    """Why rows failed, could not run or were gated, and how many of their blocks are good."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in shown:
        if row.reason:
            what = "gated" if row.status == "ok" else row.status
            good = f", {good_blocks(row)} good" if row.status != "not run" else ""
            where = f"{client_count(row.clients)}, {row.load.label}"
            alike.setdefault((where, what + good, row.reason), []).append(row.server)
    everywhere: dict[tuple[str, str, str], list[str]] = {}
    for (where, ended, why), servers in alike.items():
        everywhere.setdefault((", ".join(servers), ended, why), []).append(where)
    loads = len({row.load for row in shown})
    return [
        f"{named}, {'under every load' if len(under) == loads > 1 else '; '.join(under)}, "
        f"{ended}: {why}"
        for (named, ended, why), under in everywhere.items()
    ]


def _listed(rows: Sequence[Row], what: Callable[[Row], str] = lambda row: "") -> str:
    """The rows in words, each followed by what(row)."""
    named = (f"{row.server} at {row.clients:,} ({row.load.label}) {what(row)}" for row in rows)
    return "; ".join(map(str.strip, named))


def _bracketed(shown: Sequence[Row]) -> str:
    found = [row for row in shown if not stands(row) and row.status != "not run"]
    said = "figures in brackets are not compared: the server failed, or every trial was gated"
    return said if found else ""


def _partly_gated(shown: Sequence[Row]) -> str:
    found = [row for row in shown if stands(row) and row.blocks < row.blocks_run]
    return f"some blocks were gated; good: {_listed(found, good_blocks)}" if found else ""


def _starved(shown: Sequence[Row]) -> str:
    found = [row for row in shown if row.clients_without_echo and row.load.facts.stays]
    named = "; ".join(
        f"{row.server} up to {row.clients_without_echo:,} of {row.clients:,} ({row.load.label})"
        for row in found
    )
    return f"clients that got no echo in a whole slice, worst block: {named}" if found else ""


def _apart(shown: Sequence[Row]) -> str:
    found = [row for row in shown if row.outliers]

    def blocks(row: Row) -> str:
        return ", ".join(str(block + 1) for block in row.outliers)

    return f"outlying blocks, marked but not left out: {_listed(found, blocks)}" if found else ""


def _unsettled(shown: Sequence[Row]) -> str:
    late = [row for row in shown if row.unsettled]
    trials = sum(row.unsettled for row in late)
    named = ", ".join(f"{row.server} at {row.clients:,}" for row in late)
    many = "s" * (trials > 1)
    return f"{trials} trial{many} had not settled when the slice began: {named}" if late else ""


def _at_ceiling(shown: Sequence[Row]) -> str:
    found = [row for row in shown if row.at_ceiling]
    named = _listed(found, lambda row: f"{row.at_ceiling} of its trials")
    return f"slices that reached the ceiling before 20 round trips: {named}" if found else ""


def _uneven(shown: Sequence[Row]) -> str:
    found = [row for row in shown if is_uneven(row)]
    return (
        "no p50 where clients were served unevenly (fairness below "
        f"{FAIR:g}), as the median message is then from a client that was served most: "
        f"{_listed(found)}"
        if found
        else ""
    )


def _untold(shown: Sequence[Row]) -> str:
    found = [
        row
        for row in shown
        if row.load.facts.scheduled and row.latency_p50_us and row.latency_p99_us is None
    ]
    return (
        "no p99 and no comparison by it, as fewer than 10 intervals (or 100 messages) of some "
        f"trial lie beyond it; see the longest stall instead: {_listed(found)}"
        if found
        else ""
    )


def _locked(shown: Sequence[Row]) -> str:
    found = dict.fromkeys(row.server for row in shown if row.gil_came_on)
    named = ", ".join(found)
    return (
        f"an extension that was imported while it served switched the lock on: {named}"
        if found
        else ""
    )


def _waking(shown: Sequence[Row]) -> str:
    alone = any(row.clients == 1 and row.load.facts.closed_loop for row in shown)
    return (
        "1 client: both cores sleep between messages, so these rows measure how fast this machine "
        "wakes a core more than they measure servers"
        if alone
        else ""
    )


_REMARKS = (
    _bracketed, _partly_gated, _starved, _apart, _unsettled, _at_ceiling, _uneven, _untold, _locked,
    _waking,
)  # fmt: skip


def footers(judged: Judged) -> tuple[str, ...]:
    """The lines under the tables: how ratios, verdicts and ranks are to be read."""
    return (*_about_the_lock(judged), *_about_noise(judged))


def _about_the_lock(judged: Judged) -> tuple[str, ...]:
    if not any(row.without_lock for row in judged.rows):
        return ()
    return (
        "Without the lock: the ratio of the first figure to the same server's on the build that "
        "differs in the lock only, within blocks, with its 95 % interval (not corrected for the "
        "number of rows). ≥ and ≤: one of the two figures is a bound, and so is the ratio; ~: both "
        "are, and it says little.",
    )


def _about_noise(judged: Judged) -> tuple[str, ...]:
    """The noise floor, and how verdicts and ranks are corrected."""
    if not judged.noise:
        return ()
    said = [
        f"{client_count(floor.load.clients)}, {floor.load.label}: {ratio(floor.ratio)}"
        for floor in judged.noise
    ]
    return (
        f"Noise floor, {judged.reference} against itself ({judged.control}), estimated from the "
        f"same blocks: {'; '.join(said)}. Ratios are to {judged.reference}, each with its own "
        "95 % interval; no difference within the noise floor is claimed.",
        "Verdicts and ranks are corrected over all loads of a kind (Holm; 4 of the 5 % for "
        "verdicts): with no true difference, at most one such table in twenty claims any.",
    )
