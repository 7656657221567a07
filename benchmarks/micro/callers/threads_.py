"""A thread for each caller: blocking sockets, and PyTango's synchronous mode."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import perf_counter


def timed(trips, each, rounds, executor=ThreadPoolExecutor):
    """How long each round took, in seconds: every caller makes its own trip `each` times."""
    ends = []
    together = threading.Barrier(len(trips), lambda: ends.append(perf_counter()), timeout=60)

    def call(trip):
        together.wait()
        for _ in range(rounds):
            for number in range(each):
                assert trip(number) == number
            together.wait()

    with executor(max_workers=len(trips)) as pool:
        list(pool.map(call, trips))
    return [end - start for start, end in pairwise(ends)]


def commands(address, callers, each, rounds):
    """All threads share a proxy; PyTango's own executor makes them known to Tango."""
    from tango import DeviceProxy
    from tango.utils import PyTangoThreadPoolExecutor

    device = DeviceProxy(address)
    return timed([device.echo] * callers, each, rounds, PyTangoThreadPoolExecutor)


def messages(address, callers, each, rounds):
    """Each thread has a connection."""
    connections = [socket.create_connection(address) for _ in range(callers)]

    def over(connection):
        def trip(number):
            connection.sendall(b"%07d\n" % number)
            return int(connection.recv(8))

        return trip

    seconds = timed([over(connection) for connection in connections], each, rounds)
    for connection in connections:
        connection.close()
    return seconds
