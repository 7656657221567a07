"""Runs a plan, block by block, and stores the measurement of each trial at once.

A failure of a server or a client is part of the measurement, never an exception. An exception
(an interrupt, a full disk) ends the session early: all measurements so far are on disk, and no
process is left running.
"""

from collections.abc import Callable, Iterable, Sequence

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

    A disturbed trial is repeated, and each attempt is stored. At the end of the plan, more is
    called with all measurements and returns further trials, again and again until it returns
    none. before is called with each trial before an attempt, after with each measurement.
    """
    last = plan.workload.repeats  # the number of the last attempt that is allowed
    measured = list(done)
    attempts = {each.trial.key: _next_attempt(each, last) for each in measured}
    queue: Iterable[Trial] = plan.trials
    while queue:
        for trial in queue:
            attempt = attempts.get(trial.key, 0)
            while attempt <= last:
                before(trial)
                try:
                    with writer.measuring():
                        measurement = execute(trial)
                except Refusal as refusal:
                    measurement = Measurement(trial, refusal.status, str(refusal))
                rejected = gates.gates(measurement)
                measurement = replace(measurement, attempt=attempt, gates=rejected)
                writer.append(measurement)
                measured.append(measurement)
                after(measurement)
                attempt = _next_attempt(measurement, last)
            attempts[trial.key] = attempt
        queue = more(measured)


def _next_attempt(measurement: Measurement, last: int) -> int:
    """The number of the attempt that follows this one; greater than last when none follows."""
    return measurement.attempt + 1 if gates.by_chance(measurement.gates) else last + 1
