"""The queue that a server is compared with at a share of its capacity: M/D/1. Pure.

Messages arrive at random (Poisson), each takes the same time, one server takes them in the order
in which they came. A real server can hardly do better: its messages do not all take the same
time, and it does other things as well.
"""

import math
from decimal import Decimal, localcontext
from functools import lru_cache

DIGITS = 120  # the terms of the sum alternate and are large; more than enough for MOST_SERVICES
MOST_SERVICES = 200.0  # longest wait that is looked for, in service times
CLOSE = 1e-3  # of a service time


def waits_at_most(services: float, busy: float) -> float:
    """The probability that a message waits for at most so many service times before its own.

    busy: the share of the time in which the server is busy, below 1. By A. K. Erlang (1909):
    (1 - busy) · Σ_{k=0}^{⌊x⌋} (busy·(k - x))^k / k! · e^{-busy·(k - x)}.
    """
    with localcontext() as context:
        context.prec = DIGITS
        x, rho = Decimal(services), Decimal(busy)
        total, factorial = Decimal(0), Decimal(1)
        for k in range(math.floor(services) + 1):
            factorial *= max(k, 1)
            power = rho * (k - x)
            total += (power**k if k else Decimal(1)) / factorial * (-power).exp()
        return float((1 - rho) * total)


@lru_cache(maxsize=4096)
def p99_services(busy: float) -> float | None:
    """The 99th percentile of a message's time in the queue and in service, in service times.

    None for a server that is busier than the search for it goes: then it is beyond
    MOST_SERVICES, or there is none.
    """
    if not 0 <= busy < 1 or waits_at_most(MOST_SERVICES, busy) < 0.99:
        return None
    low, high = 0.0, MOST_SERVICES
    while high - low > CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if waits_at_most(middle, busy) >= 0.99 else (middle, high)
    return 1 + high


def ideal_p99_us(rate: float, service_us: float) -> float | None:
    """The p99 of such a queue, in µs. rate: messages/s. service_us: what each takes, in µs."""
    services = p99_services(round(rate * service_us / 1e6, 3))
    return None if services is None else services * service_us
