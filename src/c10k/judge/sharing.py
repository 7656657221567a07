"""How evenly clients and work fell on the processes or threads of a trial's server. Pure."""

from collections.abc import Sequence

from ..model import Measurement
from . import samples


def worker_count(measurement: Measurement) -> float | None:
    """How many processes or threads served; None for one, and where it is not known."""
    return len(measurement.server.workers) or None


def clients_evenness(measurement: Measurement) -> float | None:
    """Jain's index over the clients that each holds: 1 is even, 1/n when one has all."""
    return _jain(_clients(measurement))


def clients_most(measurement: Measurement) -> float | None:
    """The share of the clients that the one with the most of them holds: 1/n is even."""
    return _most(_clients(measurement))


def work_evenness(measurement: Measurement) -> float | None:
    """Jain's index over the CPU time of each process or thread in the slice."""
    return _jain(_work(measurement))


def work_most(measurement: Measurement) -> float | None:
    """The share of the CPU time that the busiest process or thread used: 1/n is even."""
    return _most(_work(measurement))


def _clients(measurement: Measurement) -> Sequence[float]:
    return [worker.clients for worker in measurement.server.workers]


def _work(measurement: Measurement) -> Sequence[float]:
    """The workers' CPU time in s; empty when one is not known, and for idle clients."""
    found = [worker.cpu_s for worker in measurement.server.workers]
    known = [cpu_s for cpu_s in found if cpu_s is not None]
    return known if measurement.trial.load.facts.rate and len(known) == len(found) else []


def _jain(parts: Sequence[float]) -> float | None:
    return samples.jain(sum(parts), sum(part * part for part in parts), len(parts))


def _most(parts: Sequence[float]) -> float | None:
    total = sum(parts)
    return max(parts) / total if total else None
