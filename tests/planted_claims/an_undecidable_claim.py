"""Planted: nobody can say."""

from c10k.claims import part

WORDS = "A coin shows heads."
EXPERIMENT = "Throw it; the throws are given here, so that they are the same each time."
RULE = "Supported when heads come more often than not, refuted when less often."


def measure(setting):
    return {"heads": [1, 0, 1, 0, 0, 1][: setting.repetitions + 1]}


def decide(samples):
    yield part("heads", samples["heads"], above=0.5)
