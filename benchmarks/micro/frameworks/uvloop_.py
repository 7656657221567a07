"""uvloop: asyncio's own tasks and locks on another loop, so the functions are asyncio's."""

import uvloop

from .asyncio_ import *  # noqa: F403


def run(main):  # type: ignore[no-redef]  # in the place of asyncio's
    """Runs a coroutine function on a loop of its own."""
    return uvloop.run(main())
