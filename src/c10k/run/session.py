"""Runs a plan, block by block, and stores the measurement of each trial at once.

A failure of a server or a client is part of the measurement, never an exception. An exception
(an interrupt, a full disk) ends the session early: all measurements so far are on disk, and no
process is left running.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from msgspec.structs import replace

from ..model import Measurement, Plan, Trial
from ..plan import gates
from .executor import Refusal
from .store import Writer

Execute = Callable[[Trial], Measurement]


def run(
    plan: Plan,
    execute: Execute,
    writer: Writer,
    *,
    done: Iterable[Measurement] = (),
    more: Callable[[Sequence[Measurement]], Iterable[Trial]] = lambda measurements: (),
    before: Callable[[Trial], None] = lambda trial: None,
    after: Callable[[Measurement], None] = lambda measurement: None,
) -> None:
    """Runs every trial of the plan that done does not contain.

    A disturbed trial is repeated at the end of its block, because what disturbed it may last for
    minutes; each attempt is stored. At the end of the plan, more is called with all
    measurements and returns further trials, again and again until it returns none. before is
    called with each trial before an attempt, after with each measurement.
    """
    last = plan.workload.repeats  # the number of the last attempt that is allowed
    measured = list(done)
    attempts = {each.trial.key: _next_attempt(each, last) for each in measured}

    def attempted(trial: Trial) -> None:
        before(trial)
        try:
            with writer.measuring():
                measurement = execute(trial)
        except Refusal as refusal:
            measurement = Measurement(trial, refusal.status, str(refusal))
        measurement = replace(
            measurement, attempt=attempts.get(trial.key, 0), gates=gates.gates(measurement)
        )
        writer.append(measurement)
        measured.append(measurement)
        attempts[trial.key] = _next_attempt(measurement, last)
        after(measurement)

    queue: Iterable[Trial] = plan.trials
    while queue:
        for _, block in groupby(queue, lambda trial: trial.block):
            left = list(block)
            while left := [trial for trial in left if attempts.get(trial.key, 0) <= last]:
                for trial in left:
                    attempted(trial)
        queue = more(measured)


def _next_attempt(measurement: Measurement, last: int) -> int:
    """The number of the attempt that follows this one; greater than last when none follows."""
    return measurement.attempt + 1 if gates.by_chance(measurement.gates) else last + 1
