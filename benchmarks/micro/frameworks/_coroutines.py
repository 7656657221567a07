"""What is the same in every framework of coroutines, but for a function of its own that is given.

`timed` is the stretch that is timed, as a with block: see ../primitives.py.
"""


async def yield_now(sleep, timed, n):
    with timed:
        for _ in range(n):
            await sleep(0)


async def delegate(timed, n, depth):
    async def chain(levels):
        return 1 if levels == 0 else await chain(levels - 1)

    total = 0
    with timed:
        for _ in range(n):
            total += await chain(depth)
    assert total == n


async def resume(sleep, timed, n, depth):
    async def chain(levels):
        if levels:
            return await chain(levels - 1)
        for _ in range(n):
            await sleep(0)
        return n

    with timed:
        resumed = await chain(depth)
    assert resumed == n


def wanting(lock, sleep, turns):
    """What a unit does that takes a lock so often; and how many were inside at most, in all."""
    inside, most, total = 0, 0, 0

    async def want():
        nonlocal inside, most, total
        for _ in range(turns):
            async with lock:
                inside += 1
                most = max(most, inside)
                await sleep(0)
                inside -= 1
                total += 1

    return want, lambda: (most, total)


async def calls(timed, n, call):
    """call(function, argument): in a thread or a process, which the first call starts."""
    await call(abs, -1)
    total = 0
    with timed:
        for _ in range(n):
            total += await call(abs, -1)
    assert total == n


async def trips(timed, n, write, read):
    """Messages of 8 bytes to somebody who echoes them; read() returns some bytes of an echo."""
    with timed:
        for number in range(n):
            message = b"%07d\n" % number
            await write(message)
            data = await read()
            while len(data) < 8:
                data += await read()
            assert data == message
