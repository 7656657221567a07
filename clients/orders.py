"""The lines on standard input: the plan, the order to begin, and the slice's length.

They are read through the loop's own reader. A saturated loop starves its timers, but a
descriptor that is ready is served in its turn, like the others. With 10,000 before it, that
takes as long as a round trip; so code that waits under load also calls look() now and then.
No thread disturbs the loop.
"""

import asyncio
import os
from collections.abc import Callable

_READ_BYTES = 65536
MOST_BYTES = 16 * 1024 * 1024  # the longest line


class Orders:
    """Lines from a descriptor, one awaited at a time."""

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        self._rest = b""
        self._ended = False
        self._readable: Callable[[], None] | None = None  # while a line is waited for

    def first(self) -> bytes:
        """The next line, read before the loop runs; b"" at the end of the stream."""
        while (line := self._line()) is None:
            self._read()
        return line

    def when_told(self, told: Callable[[bytes], None]) -> None:
        """Calls `told` with the next line when it has come; b"" at the end of the stream."""
        line = self._line()
        if line is not None:
            told(line)
            return
        loop = asyncio.get_running_loop()

        def readable() -> None:
            self._read()
            line = self._line()
            if line is not None:
                self._readable = None
                loop.remove_reader(self.descriptor)
                told(line)

        try:
            loop.add_reader(self.descriptor, readable)  # this also makes it non-blocking
            self._readable = readable
        except PermissionError:  # a file: it cannot be polled, and never blocks
            told(self.first())

    def look(self) -> None:
        """Handles the awaited line if it has come, without waiting for the loop's turn."""
        if self._readable is not None:
            self._readable()

    async def next(self) -> bytes:
        """The next line; b"" at the end of the stream."""
        come: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.when_told(come.set_result)
        return await come

    def _line(self) -> bytes | None:
        """The next whole line, if it has come; the rest at the stream's end counts as one."""
        line, newline, rest = self._rest.partition(b"\n")
        if not newline and not self._ended:
            return None
        self._rest = rest
        return line + newline

    def _read(self) -> None:
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        self._rest += data
        self._ended = not data or len(self._rest) > MOST_BYTES
