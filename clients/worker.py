"""One load-generating process: its plan, its orders, its clients, and the result that it reports.

The kinds of load are in loops.py and turnover.py.
"""

import resource
import time
from collections.abc import Sequence

import psutil
from crowd import Crowd
from orders import Orders
from plan import Plan
from saying import say


class Worker:
    """What one process has to do, and who does it."""

    def __init__(self, plan: Plan, orders: Orders, crowd: Crowd) -> None:
        self.plan = plan
        self.orders = orders
        self.crowd = crowd

    def report(self, counts: Sequence[int], **figures: object) -> None:
        """Writes the result, with the latencies up to the end of the drain.

        An echo that never came counts with the time it has been waited for. counts: each
        client's echoes. figures: those of the slice, and those that only this kind has.
        """
        crowd = self.crowd
        latencies = crowd.meter.latencies
        latencies.add(time.perf_counter_ns() - crowd.waiting_since_ns())
        faults = crowd.faults()
        seen = {
            "lost": crowd.outstanding(),
            "altered": sum(faults.values()),
            "faults": faults,
            "errors": crowd.errors(),
            "clients": len(counts),
            "clients_answered": sum(count > 0 for count in counts),
            "least_messages": min(counts, default=0),
            "count_sum": sum(counts),
            "count_square_sum": sum(count * count for count in counts),
            "latency": latencies.encoded(),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        say("result", **{**seen, **figures})


def resident_bytes() -> int:
    """This process's resident memory, in bytes."""
    return int(psutil.Process().memory_info().rss)
