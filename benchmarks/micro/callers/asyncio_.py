"""A task for each caller: asyncio's streams, and PyTango's asyncio mode."""

import asyncio
from time import perf_counter


async def timed(trips, each, rounds):
    """How long each round took, in seconds: every caller makes its own trip `each` times."""

    async def call(trip):
        for number in range(each):
            assert await trip(number) == number

    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        await asyncio.gather(*map(call, trips))
        seconds.append(perf_counter() - start)
    return seconds


def commands(address, callers, each, rounds):
    """All tasks share a proxy."""
    from tango.asyncio import DeviceProxy

    async def main():
        device = await DeviceProxy(address)
        return await timed([device.echo] * callers, each, rounds)

    return asyncio.run(main())


def messages(address, callers, each, rounds):
    """Each task has a connection."""

    def over(reader, writer):
        async def trip(number):
            writer.write(b"%07d\n" % number)
            return int(await reader.readexactly(8))

        return trip

    async def main():
        streams = [await asyncio.open_connection(*address) for _ in range(callers)]
        seconds = await timed([over(*stream) for stream in streams], each, rounds)
        for _, writer in streams:
            writer.close()
        return seconds

    return asyncio.run(main())
