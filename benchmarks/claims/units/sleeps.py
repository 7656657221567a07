"""Many units sleep for random times, and the one that ends in the middle computes for a while;
prints how far from their time those before it ended, and in what order those that it held up.

python benchmarks/claims/units/sleeps.py FRAMEWORK UNITS SEED
"""

import itertools
import json
import random
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

SHORTEST_S, LONGEST_S, APART_S, COMPUTED_S = 0.5, 1.5, 0.005, 0.2


class Log:
    """When each unit was due, and when it ended, in the order of the ends."""

    def __init__(self, units):
        self.ends = []
        self.numbers = itertools.count(1)
        self.middle = units // 2
        self.computed = (float("inf"), float("inf"))  # from, to

    def due(self, length):
        return monotonic() + length

    def ended(self, due):
        now = monotonic()
        self.ends.append((due, now))
        if next(self.numbers) == self.middle:
            while monotonic() < now + COMPUTED_S:
                pass
            self.computed = (now, monotonic())


def on_threading(lengths, log):
    def unit(length):
        due = log.due(length)
        sleep(length)
        log.ended(due)

    units = [threading.Thread(target=unit, args=(length,)) for length in lengths]
    for each in units:
        each.start()
    for each in units:
        each.join()


def on_gevent(lengths, log):
    import gevent

    def unit(length):
        due = log.due(length)
        gevent.sleep(length)
        log.ended(due)

    gevent.joinall([gevent.spawn(unit, length) for length in lengths])


def on_twisted(lengths, log):
    from twisted.internet import defer, reactor, task

    async def unit(length):
        due = log.due(length)
        await task.deferLater(reactor, length)
        log.ended(due)

    def begin():
        units = [defer.Deferred.fromCoroutine(unit(length)) for length in lengths]
        defer.gatherResults(units).addCallback(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


def on_asyncio(lengths, log, run=None):
    import asyncio

    async def unit(length):
        due = log.due(length)
        await asyncio.sleep(length)
        log.ended(due)

    async def main():
        await asyncio.gather(*map(unit, lengths))

    (run or asyncio.run)(main())


def on_uvloop(lengths, log):
    import uvloop

    on_asyncio(lengths, log, uvloop.run)


def on_curio(lengths, log):
    sys.path.append(str(Path(__file__).parents[2]))
    import curio_here as curio

    async def unit(length):
        due = log.due(length)
        await curio.sleep(length)
        log.ended(due)

    async def main():
        units = [await curio.spawn(unit, length) for length in lengths]
        for each in units:
            await each.join()

    curio.run(main)


def on_trio(lengths, log):
    import trio

    async def unit(length):
        due = log.due(length)
        await trio.sleep(length)
        log.ended(due)

    async def main():
        async with trio.open_nursery() as nursery:
            for length in lengths:
                nursery.start_soon(unit, length)

    trio.run(main)


ON = {
    "threading": on_threading,
    "gevent": on_gevent,
    "twisted": on_twisted,
    "asyncio": on_asyncio,
    "uvloop": on_uvloop,
    "curio": on_curio,
    "trio": on_trio,
}


def report(ends, computed):
    """How far from their time units ended, in ms, and the share of those held up out of order."""
    began, ended = computed
    late_ms = sorted((end - due) * 1000 for due, end in ends if max(due, end) <= began)
    away_ms = sorted(map(abs, late_ms))
    held_up = [due for due, _ in ends if began < due <= ended]
    latest, disordered = 0.0, 0
    for due in held_up:
        disordered += due < latest - APART_S  # somebody due clearly later went on before
        latest = max(latest, due)
    return {
        "away_p99_ms": away_ms[len(away_ms) * 99 // 100],
        "latest_ms": late_ms[-1],
        "earliest_ms": -late_ms[0],
        "overdue": len(held_up),
        "disordered": disordered / max(1, len(held_up)),
    }


def main(name, units, seed):
    draw = random.Random(seed)
    lengths = [draw.uniform(SHORTEST_S, LONGEST_S) for _ in range(units)]
    log = Log(units)
    ON[name](lengths, log)
    if len(log.ends) != units:
        sys.exit(f"{units - len(log.ends)} of {units} units did not end")
    print(json.dumps(report(log.ends, log.computed)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
