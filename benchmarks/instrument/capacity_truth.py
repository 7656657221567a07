"""Whether the capacity is right for servers whose capacity is known, and comes out again.

A server that takes the time S for each message, which arrive at random, is a queue M/D/1. Its
capacity is the rate at which the p99 of such a queue (judge/queue.py) is the service level x. A
server that takes S, and does nothing for the time L once in each second, is busy for the share
busy = rate · S. A message that comes at the time u of a stall is answered L - u later, after those
that came before it in the stall (busy · u), those that waited already (busy · S / (2 (1 - busy)),
as Pollaczek and Khinchine have it), and its own time S. The capacity is the rate at which this is
longer than x for 1 % of the second:

  (L + busy · S / (2 (1 - busy)) + S - x) / (1 - busy) = 1 % of 1 s

Ten searches of the first server also show how much searches differ: the interval that nine
of them give for the tenth holds it in nine of ten cases, if it is as wide as it says.

  python benchmarks/instrument/capacity_truth.py [--blocks 10]     (about 35 minutes)
"""

import sys
from collections.abc import Callable, Sequence

import tables
import through
from scipy.optimize import brentq

from c10k.judge import queue, samples
from c10k.model import Measurement, Session

SERVICE_S, LEVEL_S = 500e-6, 10e-3
# Its messages are short, so that a step needs no more than duration_s for them: eight whole
# seconds, of which each has one stall. With a stall more or less the tail is another.
STALLING_SERVICE_S, STALL_S = 100e-6, 15e-3
STALLS_BLOCKS = 5
QUEUE, STALLS = "serves_each_in_500us", "serves_each_in_100us_stalls_15ms_a_second"
ALLOWED = 0.05
# The kernel tells of a client that has sent, not of a message. So of few clients, whose messages
# wait together, a message may be answered before others that came earlier, and others after
# later ones. The arithmetic is for messages that are answered in their order. Of so many clients
# hardly two messages of one wait together.
CLIENTS = 4_000


def queue_per_s(service_s: float, level_s: float) -> float:
    """The rate at which the p99 of M/D/1 is the level, in messages/s."""
    services = level_s / service_s - 1  # that a message may wait, before its own
    return keeps_until(lambda busy: 0.99 - queue.waits_at_most(services, busy)) / service_s


def stalls_per_s(service_s: float, stall_s: float, level_s: float) -> float:
    """The rate at which 1 % of the messages of each second take longer than the level."""

    def late_s(busy: float) -> float:
        waits_s = busy * service_s / (2 * (1 - busy))
        return (stall_s + waits_s + service_s - level_s) / (1 - busy)

    return keeps_until(lambda busy: late_s(busy) - 0.01) / service_s


def keeps_until(excess: Callable[[float], float]) -> float:
    """The share of its time for which a server is busy where the excess over the level is 0."""
    return float(brentq(excess, 0, 0.999))


EXPECTED = {
    QUEUE: queue_per_s(SERVICE_S, LEVEL_S),
    STALLS: stalls_per_s(STALLING_SERVICE_S, STALL_S, LEVEL_S),
}


def row(server: str, trials: Sequence[Measurement]) -> dict[str, object]:
    """One server's row: the capacity that it must have, and those that were found."""
    found = [m.capacity_per_s for m in trials if m.accepted and m.capacity_per_s]
    expected, median = EXPECTED[server], through.median(found)
    return {
        "server": server,
        "expected_per_s": expected,
        "median_per_s": median,
        "least_per_s": min(found, default=None),
        "greatest_per_s": max(found, default=None),
        "error": None if median is None else median / expected - 1,
        "searches": len(trials),
        "good": len(found),
        "within": median is not None and abs(median / expected - 1) <= ALLOWED,
        "foretold": foretold(found),
        "reasons": sorted({m.reason for m in trials if m.reason}),
    }


def foretold(found: Sequence[float]) -> int:
    """How many searches lie within the interval that the others give for a further one."""
    count = 0
    for number, value in enumerate(found):
        further = samples.further([*found[:number], *found[number + 1 :]])
        count += further is not None and further[0] <= value <= further[1]
    return count


def rows(found: Session) -> list[dict[str, object]]:
    """A row for each server of a session."""
    by_server: dict[str, list[Measurement]] = {each.name: [] for each in found.plan.servers}
    for m in found.measurements:
        by_server[m.trial.server].append(m)
    return [row(name, trials) for name, trials in by_server.items()]


def declared(server: str, blocks: int, quick: bool) -> through.Declared:
    """A server under a capacity's load."""
    load = {
        "kind": "capacity",
        "clients": 100 if quick else CLIENTS,
        "p99_ms": LEVEL_S * 1e3,
        "rate": 1000,
        "within": 0.2 if quick else 0.03,
        "warmup_s": 0.1 if quick else 1.0,
        "duration_s": 0.2 if quick else 8.0,
        "ceiling_s": 0.3 if quick else 15.0,
    }
    about = "Capacity: known service times"
    return through.Declared(
        about, [through.known(f"{server}.py")], [load], blocks, 0 if quick else 2
    )


def main() -> int:
    parser = through.parser(__doc__ or "", "capacity-truth")
    parser.add_argument(
        "--blocks", type=int, help="searches of the first server (10), and of the second, 5 at most"
    )
    options = parser.parse_args()
    blocks = options.blocks or (1 if options.quick else 10)
    sessions = [
        through.session(
            options.keep / server, declared(server, most, options.quick), quick=options.quick
        )
        for server, most in ((QUEUE, blocks), (STALLS, min(blocks, STALLS_BLOCKS)))
    ]
    found = {
        **through.conditions(sessions[0]),
        "rows": [line for session in sessions for line in rows(session)],
    }
    through.write(options.out, found)
    print(tables.capacity_truth(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
