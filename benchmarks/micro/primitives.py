"""The primitives: each is a function in a framework's file that does something n times.

A function takes `timed`, n, and for some primitives a depth. It does its work n times in `with
timed:`, within the running loop, and asserts the result after that. The file's run(main) calls
the function inside its loop, so that starting and ending the loop is not timed. A framework
without the function has no such thing, which is also a result.
"""

from time import perf_counter
from typing import NamedTuple

FRAMEWORKS = ("threading", "gevent", "twisted", "asyncio", "uvloop", "curio", "trio")


class Timed:
    """A with block around the timed part of a primitive."""

    start: float
    seconds: float  # how long the block took

    def __enter__(self) -> None:
        self.start = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds = perf_counter() - self.start


class Primitive(NamedTuple):
    """One row of the coverage table."""

    name: str
    title: str
    operations: int  # per round
    arguments: tuple[int, ...] = ()

    @property
    def function(self) -> str:
        """The name of the function in a framework's file."""
        return self.name.rstrip("_0123456789")


PRIMITIVES = (
    Primitive("spawn_join", "spawn a unit and join it", 1000),
    Primitive("ping_pong", "switch to another unit and back", 1000),
    Primitive("yield_now", "sleep(0)", 1000),
    Primitive("sleepers", "one of 10,000 concurrent sleeps of 10 ms", 10_000),
    Primitive("event_wake", "wake a unit by an event", 1000),
    Primitive("queue_pass", "put into and get from a queue of 16", 1000),
    Primitive("lock_free", "take and release a free lock", 1000),
    Primitive("lock_contended", "take and release a lock that ten want", 1000),
    Primitive("cancel", "cancel a unit that sleeps", 1000),
    Primitive("timeout", "a timeout that does not fire", 1000),
    Primitive("delegate_1", "delegate 1 deep", 1000, (1,)),
    Primitive("delegate_10", "delegate 10 deep", 1000, (10,)),
    Primitive("delegate_100", "delegate 100 deep", 1000, (100,)),
    Primitive("resume_1", "sleep(0), resumed 1 deep", 1000, (1,)),
    Primitive("resume_10", "sleep(0), resumed 10 deep", 1000, (10,)),
    Primitive("resume_100", "sleep(0), resumed 100 deep", 1000, (100,)),
    Primitive("thread_call", "call out to a thread", 200),
    Primitive("process_call", "call out to a process", 100),
    Primitive("pipe_trip", "a round trip through two pipes", 500),
    Primitive("subprocess_echo", "a line echoed by a subprocess", 200),
    Primitive("signal_wake", "a signal to this process, handled", 200),
    Primitive("unix_trip", "a round trip over a UNIX socket", 500),
    Primitive("tcp_trip", "a round trip over TCP", 500),
)
GENERATORS = (
    Primitive("accumulate_1", "send into a generator 1 yield from deep", 1000, (1,)),
    Primitive("accumulate_10", "send into a generator 10 yield from deep", 1000, (10,)),
    Primitive("accumulate_100", "send into a generator 100 yield from deep", 1000, (100,)),
    Primitive("chain_1", "an item through 1 yield from", 1000, (1,)),
    Primitive("chain_10", "an item through 10 yield from", 1000, (10,)),
    Primitive("chain_100", "an item through 100 yield from", 1000, (100,)),
)
