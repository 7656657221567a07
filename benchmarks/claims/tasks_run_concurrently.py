"""Tasks run concurrently: 10,000 sleeps of random length end in order and on time."""

import json
from typing import NamedTuple

from _loading import unit

from c10k.claims import always, figure, part

WORDS = "Tasks run concurrently: 10,000 sleeps of random length end in order and on time."
EXPERIMENT = """
10,000 units of each framework (threads among them) sleep between 0.5 and 1.5 s each. Measured is
when each ended and when it was due, which is its start plus its length. The one that ends as number
5,000 then computes for 200 ms without a pause. "On time" is about those that were due before it.
"In order" is about those that came due while it computed: whether they then went on in the order in
which they were due. Two are out of order when the later came first although they were due more than
5 ms apart.
"""
RULE = """
Each framework has two parts. On time: 99 % of the ends are less than 50 ms from when they were due,
before it or after it; supported when the interval of that percentile is below 50 ms, refuted when
it is above. In order: less than 1 % of those that came due during the computation ended out of
order; supported when that was so each time, refuted when never, else it depends.
"""
AWAY_MS, DISORDERED = 50, 0.01


class Sample(NamedTuple):
    """One figure of a framework's sleeps."""

    framework: str
    what: str


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    for block in range(setting.repetitions):
        for name in ("threading", "gevent", "twisted", "asyncio", "uvloop", "curio", "trio"):
            setting.say(f"{name}, repetition {block + 1}")
            found = json.loads(unit("sleeps.py", name, 10_000, block))
            for what, value in found.items():
                samples.setdefault(Sample(name, what), []).append(value)
    return samples


def decide(samples):
    for name in dict.fromkeys(sample.framework for sample in samples):

        def found(what, name=name):
            return samples.get(Sample(name, what), ())

        yield part(
            f"{name}: on time",
            found("away_p99_ms"),
            below=AWAY_MS,
            name="99 % ended within",
            unit="ms",
            beside=[
                figure("the latest after its time", found("latest_ms"), "ms"),
                figure("the earliest before its time", found("earliest_ms"), "ms"),
            ],
        )
        disordered = found("disordered")
        yield always(
            f"{name}: in order",
            [share < DISORDERED for share in disordered],
            beside=[
                figure("share out of order", disordered, most=1),
                figure("ends that came due meanwhile", found("overdue")),
            ],
        )
