"""A Tango device server without a database; its one command returns what it is given.

  python benchmarks/micro/tango_device.py synchronous|gevent|asyncio

When it serves, it prints its address for a DeviceProxy.
"""

import os
import sys

from tango import GreenMode
from tango.server import Device, command
from tango.test_context import get_server_port_via_pid

HOST, NAME = "127.0.0.1", "test/echo/1"


class Synchronous(Device):
    @command(dtype_in=int, dtype_out=int)
    def echo(self, number):
        return number


class Gevent(Device):
    green_mode = GreenMode.Gevent

    @command(dtype_in=int, dtype_out=int)
    def echo(self, number):
        return number


class Asyncio(Device):
    green_mode = GreenMode.Asyncio

    @command(dtype_in=int, dtype_out=int)
    async def echo(self, number):
        return number


MODES = {"synchronous": Synchronous, "gevent": Gevent, "asyncio": Asyncio}


def ready():
    port = get_server_port_via_pid(os.getpid(), HOST)
    print(f"tango://{HOST}:{port}/{NAME}#dbase=no", flush=True)


MODES[sys.argv[1]].run_server(
    ["echo", "1", "-nodb", "-dlist", NAME, "-ORBendPoint", f"giop:tcp:{HOST}:0"],
    post_init_callback=ready,
)
