"""The progress of a session: server, clients, block, time left.

Nothing is drawn while a slice is measured: on two cores, drawing would be a load itself.
The line changes only between trials. Without a terminal, each trial prints one line.
"""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from ..model import Measurement, Trial
from ..text import plain
from .numbers import client_count, significant


class Lines:
    """The progress line; before() and after() are called for every trial. A context manager."""

    def __init__(self, console: Console, trials: int, blocks: int, expected_s: float) -> None:
        self.console = console
        self.trials = trials
        self.blocks = blocks
        self.per_trial_s = expected_s / max(trials, 1)
        self.done: set[str] = set()
        self.bar = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}  {task.description}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=trials)

    def __enter__(self) -> "Lines":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def before(self, trial: Trial) -> None:
        if trial.block >= self.blocks:  # a block that was added on request
            self.blocks += 1
            self.trials += sum(key.startswith("000-") for key in self.done)
        left_s = (self.trials - len(self.done)) * self.per_trial_s
        about = f"about {duration(left_s)} left"
        self.bar.update(
            self.task,
            description=plain(f"{describe(trial, self.blocks)}, {about}"),
            completed=len(self.done),
            total=self.trials,
        )
        self.bar.refresh()

    def after(self, measurement: Measurement) -> None:
        trial = measurement.trial
        self.done.add(trial.key)
        line = f"{len(self.done)}/{self.trials} {describe(trial, self.blocks)}: "
        line += outcome(measurement)
        if not self.console.is_terminal:
            self.console.print(Text(plain(line)), soft_wrap=True)
        elif measurement.status == "failed" or measurement.gates:
            self.console.print(Text(plain(line), style="red"))


def outcome(measurement: Measurement) -> str:
    """The result of a trial in a few words."""
    if measurement.capacity_per_s:
        came = f"capacity {significant(measurement.capacity_per_s)} messages/s"
    elif measurement.latency and measurement.trial.load.facts.scheduled:
        p99 = measurement.latency.p99_us
        came = f"p99 {significant(p99)} µs" if p99 is not None else "too few for a p99"
    elif measurement.messages_per_s is not None:
        came = f"{significant(measurement.messages_per_s)} messages/s"
    else:
        came = ""
    if measurement.status != "ok":
        why = f"{measurement.status}: {measurement.reason}"
        came = f"{came} ({why})" if came else why
    return came + "".join(f" (gated, {gate})" for gate in measurement.gates)


def describe(trial: Trial, blocks: int) -> str:
    """A trial in a few words."""
    return (
        f"{trial.server}, {client_count(trial.load.clients)}, {trial.load.label}, "
        f"block {trial.block + 1} of {blocks}"
    )


def duration(seconds: float) -> str:
    """A duration in words: "2 min 30 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
