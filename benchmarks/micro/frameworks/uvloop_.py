"""uvloop: asyncio's own tasks and locks on another loop, so the functions are asyncio's."""

import types

import uvloop

from . import asyncio_


def _on(function):
    """The same function, started on uvloop."""
    return types.FunctionType(function.__code__, {**vars(asyncio_), "run": uvloop.run})


globals().update(
    {
        name: _on(function)
        for name, function in vars(asyncio_).items()
        if isinstance(function, types.FunctionType) and not name.startswith("_") and name != "run"
    }
)
