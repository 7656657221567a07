"""Histograms, and made-up trials that hold some."""

import made
from hdrh.histogram import HdrHistogram

from c10k.model import Latency


def latencies_of(seen, key="latency"):
    """The histogram that a worker's result holds."""
    return HdrHistogram.decode(seen[key])


def histogram(values):
    """These values, in ns, as a measurement holds them."""
    made_up = HdrHistogram(1, 3_600_000_000_000, 3)
    for value in values:
        made_up.record_value(value)
    return made_up.encode().decode()


def ok(trial, **fields):
    """A trial with a histogram of its own: 100 echoes of 1 ms, one of 50 ms."""
    latency = Latency(101, 1000.0, 1000.0, 50_000.0, None, 50_000.0,
                      histogram([1_000_000] * 100 + [50_000_000]))  # fmt: skip
    rate = {"alpha": 1000.0, "beta": 2000.0}.get(trial.server, 1.0) + trial.block
    started = "2026-01-02T03:04:06+00:00"
    return made.ok(trial, rate=rate, latency=latency, started_at=started, **fields)


LOADS = tuple(made.load(n) for n in (1, 10, 100, 10_000))
NAMES = ("asyncio_streams", "threads_sockets", "trio_streams")


def measure(trial):
    values = [1_000_000 + i * 1000 for i in range(2000)]
    latency = Latency(20_000, 1000.0, 1500.0, 2000.0, None, 2500.0, histogram(values))
    rate = {"asyncio_streams": 1e5, "threads_sockets": 2e5}.get(trial.server, 5e4)
    return made.ok(trial, rate=rate + trial.block, latency=latency, clients_without_echo=3)


def whole(**fields):
    return made.session(NAMES, LOADS, 8, fields.pop("measure", measure), control=True, **fields)
