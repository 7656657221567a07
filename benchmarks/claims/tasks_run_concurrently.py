"""Tasks run concurrently: 10,000 sleeps of random length end in order and on time."""

import json

from _loading import unit
from msgspec.structs import replace

from c10k.claims import figure, part

WORDS = "Tasks run concurrently: 10,000 sleeps of random length end in order and on time."
EXPERIMENT = """
10,000 units of each framework (threads among them) sleep between 0.5 and 1.5 s each. When each
ended, beside when it was due: its own start and its length. Two ends are out of order when the
later came first although they were due more than 5 ms apart.
"""
RULE = """
Of each framework: supported when the 99th percentile of lateness is below 50 ms, and none ended
more than 1 ms early, refuted when it is above; and when less than 1 % of the ends are out of
order, refuted when more.
"""
EARLY_MS = 1


def measure(setting):
    samples = {}
    for block in range(setting.repetitions):
        for name in ("threading", "gevent", "twisted", "asyncio", "uvloop", "curio", "trio"):
            setting.say(f"{name}, repetition {block + 1}")
            found = json.loads(unit("sleeps.py", name, 10_000, block))
            for what, value in found.items():
                samples.setdefault(f"{name} {what}", []).append(value)
    return samples


def decide(samples):
    for name in dict.fromkeys(key.split()[0] for key in samples):
        early = samples.get(f"{name} earliest_ms", ())
        on_time = part(
            f"{name}: on time",
            samples.get(f"{name} late_p99_ms", ()),
            below=50,
            name="99th percentile of lateness",
            unit="ms",
            beside=[figure("the earliest before its time", early, "ms")],
        )
        if any(each > EARLY_MS for each in early):
            on_time = replace(on_time, decision="refuted")
        yield on_time
        yield part(
            f"{name}: in order",
            samples.get(f"{name} disordered", ()),
            below=0.01,
            name="share out of order",
        )
