"""What is the same where units call functions (threads, greenlets), but for what is given.

`timed` is the stretch that is timed, as a with block: see ../primitives.py.
"""


def run(main):
    """Runs a function: here no loop is needed."""
    main()


def yield_now(sleep, timed, n):
    with timed:
        for _ in range(n):
            sleep(0)


def delegate(timed, n, depth):
    def chain(levels):
        return 1 if levels == 0 else chain(levels - 1)

    total = 0
    with timed:
        for _ in range(n):
            total += chain(depth)
    assert total == n


def resume(sleep, timed, n, depth):
    def chain(levels):
        if levels:
            return chain(levels - 1)
        for _ in range(n):
            sleep(0)
        return n

    with timed:
        resumed = chain(depth)
    assert resumed == n


def wanting(lock, sleep, turns):
    """What a unit does that takes a lock so often; and how many were inside at most, in all."""
    inside, most, total = 0, 0, 0

    def want():
        nonlocal inside, most, total
        for _ in range(turns):
            with lock:
                inside += 1
                most = max(most, inside)
                sleep(0)
                inside -= 1
                total += 1

    return want, lambda: (most, total)


def trips(timed, n, write, read):
    """Messages of 8 bytes to somebody who echoes them; read(size) returns so many bytes."""
    with timed:
        for number in range(n):
            message = b"%07d\n" % number
            write(message)
            assert read(8) == message
