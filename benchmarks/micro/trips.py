"""The time of one round trip while several callers are at work; prints JSON.

  python benchmarks/micro/trips.py threads|gevent|asyncio SERVER [--callers 10] [--rounds 7]

SERVER is tcp, an echo server of the same framework, or the mode of a PyTango device:
synchronous, gevent or asyncio. It has a process and a session of its own, is ended by its id,
and is killed by the kernel if this program dies. The first round warms up and is left out.
"""

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from c10k import launch, paths

HERE = Path(__file__).parent
TCP = {"threads": "threads_sockets", "gevent": "gevent_streamserver", "asyncio": "asyncio_streams"}
DEVICES = ("synchronous", "gevent", "asyncio")
CALLERS = (1, 10, 100)


class Case(NamedTuple):
    """A row of the table: how the callers are concurrent, and what answers them."""

    framework: str
    server: str

    @property
    def title(self) -> str:
        if self.server == "tcp":
            return f"plain TCP, {self.framework}"
        client = "synchronous" if self.framework == "threads" else self.framework
        return f"command, client {client}, device {self.server}"


CASES = (
    Case("threads", "synchronous"),
    Case("gevent", "synchronous"),
    Case("asyncio", "synchronous"),
    Case("gevent", "gevent"),
    Case("asyncio", "asyncio"),
    *(Case(each, "tcp") for each in TCP),
)


@contextmanager
def device(mode: str) -> Iterator[str]:
    """A device in this green mode; yields its address. Raises NotServing if it does not start."""
    with _child([str(HERE / "tango_device.py"), mode], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        address = child.stdout.readline().decode().strip()
        if not address.startswith("tango://"):
            raise launch.NotServing(f"the device in mode {mode} did not start; its error is above")
        yield address


@contextmanager
def echo(framework: str) -> Iterator[tuple[str, int]]:
    """The suite's own echo server of this framework; yields its host and port."""
    with launch.listen() as listener:
        server = paths.SERVERS / f"{TCP[framework]}.py"
        with _child([str(server)], stdin=listener.fileno()):
            yield listener.getsockname()


@contextmanager
def _child(words: list[str], **streams: int) -> Iterator[launch.Child]:
    child = launch.Child(
        [sys.executable, *words],
        start_new_session=True,
        preexec_fn=launch.ChildSetup(None),
        **streams,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def measure(case: Case, callers: int, rounds: int, each: int) -> list[float]:
    """How long each round took, in seconds; callers × each trips are one round."""
    ways = importlib.import_module(f"callers.{case.framework}_")
    if case.server == "tcp":
        with echo(case.framework) as address:
            seconds = ways.messages(address, callers, each, rounds + 1)
    else:
        importlib.import_module("tango")
        with device(case.server) as address:
            seconds = ways.commands(address, callers, each, rounds + 1)
    return list(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("framework", choices=TCP)
    parser.add_argument("server", choices=("tcp", *DEVICES))
    parser.add_argument("--callers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--each", type=int, help="trips of a caller in a round")
    given = parser.parse_args()
    if min(given.callers, given.rounds, given.each or 1) < 1:
        parser.error("--callers, --rounds and --each: give 1 or more")
    each = given.each or max(10, 500 // given.callers)
    try:
        took = measure(Case(given.framework, given.server), given.callers, given.rounds, each)
    except ImportError as error:
        print(json.dumps({"not_here": str(error)}))
        return
    except launch.NotServing as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(json.dumps({"operations": given.callers * each, "seconds": took}))


if __name__ == "__main__":
    main()
