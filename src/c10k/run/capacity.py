"""Runs a capacity's trial: a search over the rate, whose every step is an open loop.

Each step starts the server anew and is judged as any trial of an open loop is. A step that a
gate rejects decides nothing and is repeated. Where the level was missed and the client was the
limit, the capacity is a bound.
"""

import random
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ..histograms import latencies
from ..judge import figures
from ..model import Load, Measurement, Step, Trial
from ..plan import capacity, gates

Execute = Callable[[Trial], Measurement]

# The first rate is moved by up to this share, at random. Otherwise all searches would try the same
# rates, and two servers that hardly differ might always be a whole step apart, or never.
MOVED = 0.1
REJECTED = 10  # steps in a row that are rejected before the trial is given up
# A step's schedule is drawn from its block's number, and no two steps have the same schedule.
STEP_BLOCKS = 10_000


class Searching:
    """Executes trials; those of a kind that is searched, as many steps."""

    def __init__(self, execute: Execute, done: Sequence[Measurement], seed: int) -> None:
        """execute: runs one ordinary trial. done: what the session has measured. seed: its own."""
        self.execute = execute
        self.seed = seed
        self.found: dict[tuple[str, Load], float] = {}  # (server, load) → its last capacity
        for measurement in done:
            self._learn(measurement)

    def __call__(self, trial: Trial) -> Measurement:
        """The trial's measurement. Raises whatever execute raises."""
        if not trial.load.facts.searched:
            return self.execute(trial)
        near = self.found.get((trial.server, trial.load))
        first = (near or trial.load.rate) * self._moved(trial)
        measurement = _Search(self.execute, trial, first, near is not None).run()
        self._learn(measurement)
        return measurement

    def _moved(self, trial: Trial) -> float:
        """The factor by which a trial's first rate is moved."""
        drawn = random.Random(f"{self.seed}/{trial.block}/{trial.server}/{trial.load.clients}")
        return 1 + MOVED * drawn.uniform(-1, 1)

    def _learn(self, measurement: Measurement) -> None:
        if measurement.capacity_per_s:
            trial = measurement.trial
            self.found[trial.server, trial.load] = measurement.capacity_per_s


class _Search:
    """The search of one trial."""

    def __init__(self, execute: Execute, trial: Trial, first: float, near: bool) -> None:
        self.execute = execute
        self.trial = trial
        self.first = first
        self.near = near
        self.steps: list[Step] = []
        self.last: dict[float, Measurement] = {}  # rate → the last step's that was judged
        self.worst: Measurement | None = None  # the last that was rejected

    def run(self) -> Measurement:
        load = self.trial.load
        while (rate := capacity.following(self.steps, self.first, load, self.near)) is not None:
            if not self._step(rate):
                return self._undecided()
        holds, fails = capacity.bracket(self.steps)
        if capacity.disagree(self.steps):
            return self._undecided()
        if holds is None:
            assert fails is not None
            return self._measured(self.last[fails], None, fails)
        for share in load.shares:
            self._step(share * holds, share)
        return self._measured(self.last[holds], holds, fails)

    def _step(self, rate: float, share: float = 0.0) -> bool:
        """Runs a step until no gate rejects it; returns whether one was judged."""
        for _ in range(REJECTED):
            measurement = self.execute(self._trial(rate))
            measurement = replace(measurement, gates=gates.gates(measurement))
            step = judged(measurement, self.trial.load, rate, share)
            self.steps.append(step)
            if step.kept is not None:
                if not share:
                    self.last[rate] = measurement
                return True
            self.worst = measurement
        return False

    def _trial(self, rate: float) -> Trial:
        """The open loop of the next step."""
        load = self.trial.load
        number = len(self.steps) + 1
        return replace(
            self.trial,
            block=self.trial.block + STEP_BLOCKS * number,
            load=replace(
                load,
                kind="open",
                rate=rate,
                duration_s=capacity.slice_s(load, rate),
                p99_ms=0.0,
                within=0.0,
                shares=(),
            ),
        )

    def _undecided(self) -> Measurement:
        """The trial where too many steps were rejected, or the steps contradict each other."""
        last = self.worst
        if capacity.disagree(self.steps) or last is None:
            last = replace(
                self.last[self.steps[-1].rate],
                status="failed",
                reason=f"undecided after {len(self.steps)} steps: trials at one rate disagree",
            )
        return replace(last, trial=self.trial, steps=tuple(self.steps))

    def _measured(self, step: Measurement, holds: float | None, fails: float | None) -> Measurement:
        """The trial with the figures of a step; failed where no rate keeps the level."""
        missed = [each for each in self.steps if each.rate == fails and each.kept is False]
        found = replace(
            step,
            trial=self.trial,
            gates=(),
            capacity_per_s=holds,
            fails_at_per_s=fails,
            client_bound=fails is None or any(each.bound for each in missed),
            steps=tuple(self.steps),
        )
        if holds is not None:
            return found
        why = missed[-1].why if missed else step.reason
        reason = f"no rate keeps the level: at {fails:g} messages/s, {why}"
        return replace(found, status="failed", reason=reason)


def judged(measurement: Measurement, load: Load, rate: float, share: float) -> Step:
    """What a step's measurement says of the service level at its rate, in messages/s.

    A level that was kept although others took some time was kept. One that was missed while they
    did says nothing about the server: its p99 is then only a bound.
    """
    found = measurement.gates
    limiter = gates.bound_by(measurement)
    rejected = [gate for gate in found if gate.kind != "rate"]
    slow = any(gate.kind == "rate" for gate in found)  # the client did not keep its schedule
    why = _why_missed(measurement, load) or ("; ".join(map(str, found)) if slow else "")
    disturbed = bool(why) and limiter is not None and limiter.kind == "others"
    latency = measurement.latency
    return Step(
        rate=rate,
        share=share,
        status=measurement.status,
        kept=None if rejected or disturbed else not why,
        why="; ".join(map(str, rejected)) or why,
        bound=slow or limiter is not None,
        p50_us=latency.p50_us if latency else None,
        p99_us=latency.p99_us if latency else None,
        longest_stall_s=measurement.longest_stall_s,
        cpu_us_per_message=figures.server_cpu_us_per_message(measurement),
        cores=measurement.server.cores,
    )


def _why_missed(measurement: Measurement, load: Load) -> str:
    """Why the level was missed, in words; "" where it was kept.

    Unlike a printed p99, this one needs no minimum of samples: the question is whether this
    slice kept the level, and the search asks it several times.
    """
    if measurement.status != "ok":
        return measurement.reason
    if measurement.latency is None:
        return ""
    p99_ms = latencies.decoded(measurement.latency.histogram).get_value_at_percentile(99) / 1e6
    return f"p99 {p99_ms:.3g} ms" if p99_ms > load.p99_ms else ""
