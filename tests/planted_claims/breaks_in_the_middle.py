"""Planted: an experiment that cannot be made."""

WORDS = "Nobody will ever know."
EXPERIMENT = "It breaks."
RULE = "None."


def measure(setting):
    raise ZeroDivisionError("there is\nnothing to divide by")


def decide(samples):
    return []
