"""A greenlet for each caller, without monkey-patching: gevent's sockets, PyTango's gevent mode."""

from time import perf_counter

import gevent
from gevent import socket


def timed(trips, each, rounds):
    """How long each round took, in seconds: every caller makes its own trip `each` times."""

    def call(trip):
        for number in range(each):
            assert trip(number) == number

    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        gevent.joinall([gevent.spawn(call, trip) for trip in trips], raise_error=True)
        seconds.append(perf_counter() - start)
    return seconds


def commands(address, callers, each, rounds):
    """All greenlets share a proxy."""
    from tango.gevent import DeviceProxy

    device = DeviceProxy(address)
    return timed([device.echo] * callers, each, rounds)


def messages(address, callers, each, rounds):
    """Each greenlet has a connection."""
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
