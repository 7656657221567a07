"""Many units sleep for random times; prints how late they ended and in what order.

python benchmarks/claims/units/sleeps.py FRAMEWORK UNITS SEED
"""

import json
import random
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

SHORTEST_S, LONGEST_S, APART_S = 0.5, 1.5, 0.005


class Log:
    """When each unit was due, and when it ended, in the order of the ends."""

    def __init__(self):
        self.ends = []

    def due(self, length):
        return monotonic() + length

    def ended(self, due):
        self.ends.append((due, monotonic()))


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


def report(ends):
    """Lateness and the greatest earliness in ms, and the share of ends out of order."""
    late = sorted(end - due for due, end in ends)
    latest, disordered = ends[0][0], 0
    for due, _ in ends:
        disordered += due < latest - APART_S  # somebody due clearly later ended before
        latest = max(latest, due)
    return {
        "late_p50_ms": late[len(late) // 2] * 1000,
        "late_p99_ms": late[len(late) * 99 // 100] * 1000,
        "earliest_ms": -late[0] * 1000,
        "disordered": disordered / len(ends),
    }


def main(name, units, seed):
    draw = random.Random(seed)
    lengths = [draw.uniform(SHORTEST_S, LONGEST_S) for _ in range(units)]
    log = Log()
    ON[name](lengths, log)
    if len(log.ends) != units:
        sys.exit(f"{units - len(log.ends)} of {units} units did not end")
    print(json.dumps(report(log.ends)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
