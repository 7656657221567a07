"""Results that need several client counts: memory per client, the breaking point. Pure."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

import numpy as np

from ..model import BreakingPoint, Measurement, Memory, MemoryRow, Session, Slope
from ..plan import search
from . import samples
from .figures import KnownLimits, limiter, total_bytes


def memory(session: Session) -> Iterable[MemoryRow]:
    """Memory per client as a slope over the client counts, for servers with three or more."""
    for server in session.plan.servers:
        if server.name == session.plan.control:
            continue
        read = [
            (m.served, m.server.before, m.server.after, m.server.threads_max)
            for m in session.measurements
            if m.trial.server == server.name
            and m.status == "ok"
            and m.served
            and m.trial.load.facts.waits_at_barrier
            and m.server.before
            and m.server.after
        ]
        counts = sorted({served for served, *_ in read})
        if len(counts) < 3:
            continue

        pss, private, shared = (
            _growth(read, attrgetter(f"{key}_bytes")) for key in ("pss", "private", "shared")
        )
        if pss and private and shared:
            yield MemoryRow(
                server=server.name,
                counts=tuple(counts),
                pss=pss,
                private=private,
                shared=shared,
                kernel_stacks=_growth(read, attrgetter("kernel_stacks_bytes")),
                sockets=_growth(read, attrgetter("sockets_bytes")),
                threads=_slope([(served, n) for served, *_, n in read if n is not None]),
                page_tables=_growth(read, attrgetter("page_tables_bytes")),
                slab=_growth(read, attrgetter("slab_bytes")),
                total=_growth(read, total_bytes),
            )


def _growth(
    read: Sequence[tuple[int, Memory, Memory, int | None]],
    bytes_of: Callable[[Memory], int | None],
) -> Slope | None:
    """The growth per client of one kind of memory. read: (clients, before, after, threads)."""
    held = [(served, bytes_of(before), bytes_of(after)) for served, before, after, _ in read]
    return _slope([(n, b - a) for n, a, b in held if a is not None and b is not None])


def _slope(points: Sequence[tuple[float, float]]) -> Slope | None:
    found = samples.slope([x for x, _ in points], [y for _, y in points]) if points else None
    if found is None:
        return None
    known = np.isfinite(found.low)
    return Slope(found.per_x, found.low if known else None, found.high if known else None)


def breaking(session: Session, limits: KnownLimits) -> Iterable[BreakingPoint]:
    """Each server's breaking point, when the session is a search; empty otherwise."""
    wanted = session.plan.workload.search
    for server in session.plan.servers if wanted else ():
        assert wanted is not None
        trials = [m for m in session.measurements if m.trial.server == server.name]
        holds, fails = search.bracket(trials, wanted)
        short = [(m.trial.load.clients, search.shortfall(m, wanted), m) for m in trials]
        held = [m for clients, lacks, m in short if clients == holds and not lacks]
        broken = [m for clients, lacks, m in short if clients == fails and lacks]
        if not trials:
            continue
        if not broken:
            yield BreakingPoint(server.name, holds, None, p99_us=_p99(held))
            continue
        worst = min(broken, key=lambda m: m.served or 0)
        what = search.shortfall(worst, wanted)
        yield BreakingPoint(
            server=server.name,
            holds=holds,
            fails=fails,
            broke=str(limiter(worst, limits)) if what == "failed" else what,
            served=worst.served,
            reason=worst.reason or f"p99 {(_p99([worst]) or 0) / 1000:,.0f} ms",
            p99_us=_p99(held),
        )


def _p99(trials: Sequence[Measurement]) -> float | None:
    return next((m.latency.p99_us for m in trials if m.latency), None)
