"""The warnings of a session: what a reader must know before its numbers. Pure."""

from collections.abc import Iterable, Sequence

from ..model import NoiseFloor, Row, Session
from ..plan import search
from . import stats


def is_finished(session: Session) -> bool:
    """Whether every planned trial has run and, in a search, no further one follows."""
    done = {m.trial.key for m in session.measurements}
    planned = all(trial.key in done for trial in session.plan.trials)
    return planned and not search.following(session.plan, session.measurements)


def warnings_of(
    session: Session, rows: Sequence[Row], noise: Sequence[NoiseFloor]
) -> Iterable[str]:
    """The warnings, one line each, in the order in which they are printed."""
    plan = session.plan
    done = {m.trial.key for m in session.measurements}
    missing = sum(trial.key not in done for trial in plan.trials)
    if missing:
        yield (
            f"ended early: {missing} of {len(plan.trials)} trials are missing; "
            "c10k run --resume continues it"
        )
    if session.altered:
        yield "altered: its trials have changed since it was finished"
    if session.mixed:
        yield f"mixed: it was resumed although this had changed: {'; '.join(session.mixed)}"
    blocks = len({m.trial.block for m in session.measurements})
    if plan.workload.search:
        pass  # each count is tried until it is decided
    elif blocks == 1:
        yield "1 block: the spread is unknown, and no difference is claimed"
    elif blocks < stats.MIN_BLOCKS:
        yield f"{blocks} blocks: the spread is shown, no difference is claimed"
    elif not noise:
        why = "too few blocks of the control count" if plan.control else "no control was entered"
        yield f"{why}, so the noise floor is unknown and no difference is claimed"
    if not session.conformance:
        yield "the servers were not checked before they were timed (--unchecked)"
    yield from _about_tls(session)
    yield from _about_cores(session)
    yield from _about_clients(session)
    gated = [m for m in session.measurements if m.gates]
    if gated:
        kinds: dict[str, int] = {}
        for measurement in gated:
            for gate in measurement.gates:
                kinds[gate.kind] = kinds.get(gate.kind, 0) + 1
        said = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        total = len(session.measurements)
        yield (
            f"{len(gated)} of {total} trials were gated ({said}) "
            "and are shown only in rows without accepted ones"
        )
    if any(row.bound for row in rows):
        yield (
            "≥, ≤ and ~: the client was the limit (its core was busy more than 90 % of the "
            "time, in a storm 80 %, or it may have made the latency a tenth longer by its own "
            "lateness), or other processes or the hypervisor took enough time to affect a p99 "
            "(limiter: others). The server may be better than a figure with ≥ or ≤; ~ marks a "
            "cost per message that was not measured at the server's own limit, and where the C "
            "floor has a ~, every × floor has one"
        )
    if plan.workload.search and search.following(plan, session.measurements):
        yield "the search has not ended"


def negotiated(session: Session) -> str:
    """The protocol and the cipher of the session's servers over TLS; "" without any."""
    return ", ".join(sorted({m.tls for m in session.measurements} - {""}))


def _about_tls(session: Session) -> Iterable[str]:
    """Which servers spoke TLS, and how."""
    plain = [server.name for server in session.plan.servers if not server.tls]
    without = f" (not {', '.join(plain)})" if plain else ""
    if found := negotiated(session):
        yield (
            f"over TLS{without}: {found}. No session is "
            "resumed, so each connection makes a full handshake, which is part of the latency of "
            "storm and churn"
        )


def _about_clients(session: Session) -> Iterable[str]:
    """That the clients ran on asyncio's loops where C's drive such clients elsewhere."""
    slow = [
        m
        for m in session.measurements
        if m.loops == "asyncio" and not (m.tls or m.trial.load.mix or m.trial.load.client)
    ]
    if slow:
        yield (
            f"in {len(slow)} of {len(session.measurements)} trials the clients ran on asyncio's "
            "loops, as those in C could not be built: they cost more, and are sooner the limit"
        )


def _about_cores(session: Session) -> Iterable[str]:
    """Which cores server and clients had, where that is not one for each on its own."""
    asked = bool(session.plan.workload.server_cores)
    told = ("not pinned", "a hyper-thread of the server's core")
    pinned = {measurement.pinned for measurement in session.measurements}
    yield from sorted(each for each in pinned - {""} if asked or any(part in each for part in told))
    for cores in sorted({m.shared_cores for m in session.measurements if m.shared_cores}):
        yield (
            f"server and clients share core {', '.join(map(str, cores))}, so the clients' work "
            "takes from the server's: a rate is a bound (≥) where that shows, and a p99 of an open "
            "loop or a storm always is (≤)"
        )
