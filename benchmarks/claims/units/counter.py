"""Ten units add to one counter without protection; prints how many updates were lost.

python benchmarks/claims/units/counter.py threads|gevent|twisted|asyncio|uvloop|curio|trio
"""

import json
import sys
import threading
from pathlib import Path

UNITS, TIMES, SWITCHED_TIMES = 10, 20_000, 200


class Counter:
    """A counter, and the ways to add one to it."""

    def __init__(self):
        self.value = 0
        self.values = [0]
        self.named = {"value": 0}
        self.appended = []
        self.lock = threading.Lock()

    def one(self):
        return 1

    def in_place(self):
        self.value += 1

    def in_list(self):
        self.values[0] += 1

    def in_dictionary(self):
        self.named["value"] += 1

    def by_append(self):
        self.appended.append(1)

    def with_a_call(self):
        before = self.value
        self.value = before + self.one()

    def locked(self):
        with self.lock:
            before = self.value
            self.value = before + self.one()


def lost(counter, times):
    counted = counter.value + counter.values[0] + counter.named["value"] + len(counter.appended)
    return UNITS * times - counted


def threads(way):
    """Lost updates of ten threads; they hand over to each other as often as they may."""
    counter = Counter()
    begin = threading.Barrier(UNITS)
    add = getattr(counter, way)

    def work():
        begin.wait()
        for _ in range(TIMES):
            add()

    sys.setswitchinterval(1e-6)
    units = [threading.Thread(target=work) for _ in range(UNITS)]
    for unit in units:
        unit.start()
    for unit in units:
        unit.join()
    return lost(counter, TIMES)


async def plain(counter):
    for _ in range(TIMES):
        counter.with_a_call()


async def switching(counter, switch):
    for _ in range(SWITCHED_TIMES):
        before = counter.value
        await switch()
        counter.value = before + 1


def of_coroutines(run):
    """run(main(counter) for each unit): lost updates without and with a switch in between."""
    found = {}
    for way, times in (("without a switch", TIMES), ("with a switch", SWITCHED_TIMES)):
        counter = Counter()
        run(way == "with a switch", counter)
        found[f"{way} in between"] = lost(counter, times)
    return found


def on_asyncio(run):
    import asyncio

    async def main(switched, counter):
        def unit():
            return switching(counter, lambda: asyncio.sleep(0)) if switched else plain(counter)

        await asyncio.gather(*(unit() for _ in range(UNITS)))

    return of_coroutines(lambda switched, counter: run(main(switched, counter)))


def on_trio():
    import trio

    async def main(switched, counter):
        async with trio.open_nursery() as nursery:
            for _ in range(UNITS):
                if switched:
                    nursery.start_soon(switching, counter, lambda: trio.sleep(0))
                else:
                    nursery.start_soon(plain, counter)

    return of_coroutines(lambda *given: trio.run(main, *given))


def on_curio():
    sys.path.append(str(Path(__file__).parents[2]))
    import curio_here as curio

    async def main(switched, counter):
        units = []
        for _ in range(UNITS):
            unit = switching(counter, lambda: curio.sleep(0)) if switched else plain(counter)
            units.append(await curio.spawn(unit))
        for unit in units:
            await unit.join()

    return of_coroutines(lambda *given: curio.run(main, *given))


def on_twisted():
    from twisted.internet import defer, reactor, task

    def run(switched, counter):
        async def unit():
            if switched:
                await switching(counter, lambda: task.deferLater(reactor, 0))
            else:
                await plain(counter)

        units = [defer.Deferred.fromCoroutine(unit()) for _ in range(UNITS)]
        done = defer.gatherResults(units)
        if not done.called:  # without a switch they are through already
            done.addCallback(lambda _: reactor.stop())
            reactor.run()

    return of_coroutines(run)


def on_gevent():
    import gevent

    def run(switched, counter):
        def unit():
            for _ in range(SWITCHED_TIMES if switched else TIMES):
                before = counter.value
                if switched:
                    gevent.sleep(0)
                counter.value = before + counter.one()

        gevent.joinall([gevent.spawn(unit) for _ in range(UNITS)], raise_error=True)

    return of_coroutines(run)


def main(name):
    match name:
        case "threads":
            ways = {
                "by counter += 1": "in_place",
                "by list[0] += 1": "in_list",
                "by dictionary[key] += 1": "in_dictionary",
                "by list.append": "by_append",
                "by a read, a call and a write": "with_a_call",
                "under a lock": "locked",
            }
            found = {words: threads(way) for words, way in ways.items()}
        case "asyncio":
            import asyncio

            found = on_asyncio(asyncio.run)
        case "uvloop":
            import uvloop

            found = on_asyncio(uvloop.run)
        case _:
            found = {
                "trio": on_trio,
                "curio": on_curio,
                "twisted": on_twisted,
                "gevent": on_gevent,
            }[name]()
    print(json.dumps({"lost": found}))


if __name__ == "__main__":
    main(sys.argv[1])
