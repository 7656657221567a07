"""Generators of the language itself, which coroutines were made of: PEP 380's examples."""

from . import _functions

run = _functions.run


def accumulate(timed, n, depth):
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
    with timed:
        for number in range(n):
            adder.send(number)
    try:
        adder.send(None)
    except StopIteration as end:
        assert end.value == sum(range(n))


def chain(timed, n, depth):
    """Items come through `depth` generators, each of which yields from the next."""

    def chained(levels):
        yield from chained(levels - 1) if levels > 1 else range(n)

    with timed:
        got = sum(chained(depth))
    assert got == sum(range(n))
