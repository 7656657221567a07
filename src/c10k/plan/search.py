"""Searches the breaking point: the client count to try next, and what has been found. Pure.

The service level is fixed (model.Search). A count holds as soon as one trial meets the level.
It fails when two trials shortfall it, so that one unlucky trial decides nothing. Counts are
doubled until one fails, then the gap between the counts that hold and fail is halved. This
assumes that a server that fails at some count fails at every higher count.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ..model import Measurement, Plan, Search, Trial

FAILURES = 2  # a count fails when this many trials shortfall the level


def shortfall(measurement: Measurement, search: Search) -> str:
    """What made a trial miss the service level, in one word; "" when it met the level."""
    if measurement.status == "not run":
        return "machine"
    if measurement.status == "failed":
        return "failed"
    if measurement.clients_without_echo:
        return "starvation"
    p99_us = _p99_us(measurement)
    return "latency" if p99_us is not None and p99_us > search.p99_ms * 1000 else ""


def _p99_us(measurement: Measurement) -> float | None:
    return measurement.latency.p99_us if measurement.latency else None


def counted(measurement: Measurement) -> bool:
    """Whether a trial decides anything.

    A gated trial does not, nor does one whose p99 is unknown because too few intervals of its
    slice hold latencies beyond it.
    """
    untold = measurement.status == "ok" and _p99_us(measurement) is None
    return not measurement.gates and not untold


def bracket(trials: Iterable[Measurement], search: Search) -> tuple[int | None, int | None]:
    """The highest count that holds, and the lowest higher one that fails; None: not known."""
    failures: Counter[int] = Counter()
    holds = None
    for each in filter(counted, trials):
        clients, what = each.trial.load.clients, shortfall(each, search)
        if not what:
            holds = max(holds or 0, clients)
        else:
            failures[clients] += FAILURES if each.status == "not run" else 1
    failed = [clients for clients, times in failures.items() if times >= FAILURES]
    return holds, min((clients for clients in failed if clients > (holds or 0)), default=None)


def following(plan: Plan, measurements: Sequence[Measurement]) -> list[Trial]:
    """The next trial of each server whose search has not ended; empty when all have."""
    search = plan.workload.search
    if search is None:
        return []
    rounds = 1 + max((m.trial.block for m in measurements), default=-1)
    order = random.Random(f"{plan.seed}/{rounds}")
    trials: list[Trial] = []
    for server in order.sample(plan.servers, len(plan.servers)):
        seen = [m for m in measurements if m.trial.server == server.name]
        clients = _next(*bracket(seen, search), search)
        if clients is None or _tries(seen, clients) > 2 * FAILURES:  # too noisy to decide
            continue
        load = replace(plan.workload.loads[0], clients=clients)
        trials.append(Trial(rounds, len(trials), server.name, load))
    return trials


def rounds(search: Search) -> int:
    """The approximate number of trials that the search takes for one server."""
    doublings = math.log2(max(search.most / search.least, 1))
    return math.ceil(doublings) + math.ceil(math.log2(1 / search.within)) + FAILURES


def _next(holds: int | None, fails: int | None, search: Search) -> int | None:
    if fails is None:
        if holds is None:
            return search.least
        return None if holds >= search.most else min(2 * holds, search.most)
    if holds is None:
        return fails // 2 or None
    close = fails - holds <= max(1, search.within * holds)
    return None if close else (holds + fails) // 2


def _tries(trials: Iterable[Measurement], clients: int) -> int:
    return sum(m.trial.load.clients == clients for m in trials)
