"""The lines on standard input: the plan, the word to go, how long the slice is.

They are read through the loop's own reader. A saturated loop starves its timers, but a
descriptor that is ready is served with the others, in its turn. With 10,000 before it that
takes as long as a round trip; so whoever waits under load also looks by himself now and
then. No thread disturbs the loop.
"""

import asyncio
import os
from collections.abc import Callable

_READ_BYTES = 65536
MOST_BYTES = 16 * 1024 * 1024  # of a line


class Orders:
    """Lines from a descriptor; one is waited for at a time."""

    def __init__(self, descriptor: int = 0) -> None:
        self.descriptor = descriptor
        self._rest = b""
        self._ended = False
        self._readable: Callable[[], None] | None = None  # while a line is waited for

    def first(self) -> bytes:
        """The next line, before there is a loop; b"" at the end of the stream."""
        while (line := self._line()) is None:
            self._read()
        return line

    def when_told(self, told: Callable[[bytes], None]) -> None:
        """Calls told with the next line when it has come, b"" at the end of the stream."""
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
            loop.add_reader(self.descriptor, readable)  # which makes it non-blocking, too
            self._readable = readable
        except PermissionError:  # a file: nothing polls it, and it keeps nobody waiting
            told(self.first())

    def look(self) -> None:
        """Whether the line has come, without waiting for the loop's turn."""
        if self._readable is not None:
            self._readable()

    async def next(self) -> bytes:
        """The next line; b"" at the end of the stream."""
        come: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.when_told(come.set_result)
        return await come

    def _line(self) -> bytes | None:
        """A whole line that has come; what is left at the end is a line, too."""
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
