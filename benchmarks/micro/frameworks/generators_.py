"""Generators of the language itself, which coroutines were made of: PEP 380's examples."""

from time import perf_counter as clock


def accumulate(n, depth):
    """Numbers are sent into a generator that adds them up, below `depth` that delegate."""

    def add_up():
        tally = 0
        while (number := (yield)) is not None:
            tally += number
        return tally

    def delegating(levels):
        if levels > 1:
            return (yield from delegating(levels - 1))
        return (yield from add_up())

    adder = delegating(depth)
    next(adder)
    start = clock()
    for number in range(n):
        adder.send(number)
    took = clock() - start
    try:
        adder.send(None)
    except StopIteration as end:
        assert end.value == sum(range(n))
    return took


def chain(n, depth):
    """Items come through `depth` generators, each of which yields from the next."""

    def chained(levels):
        yield from chained(levels - 1) if levels > 1 else range(n)

    start = clock()
    got = sum(chained(depth))
    took = clock() - start
    assert got == sum(range(n))
    return took
