"""Whether the lock (GIL) of a running CPython is on, read in its memory from outside.

Importing an extension that does not declare itself safe switches the lock of a free-threaded
interpreter on, at any time. CPython publishes for debuggers where its state lies: the section
.PyRuntime of its program begins with a table of offsets (struct _Py_DebugOffsets in CPython's
Include/internal/pycore_debug_offsets.h; pycore_runtime.h in 3.13). Reading it takes no time of
the server. Nothing is known before 3.13, nor where the kernel forbids to read another process.
"""

import functools
import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

_COOKIE = b"xdebugpy"
_MOST_OFFSETS = 64
_MOST_INTERPRETERS = 1000


class _Places(NamedTuple):
    """Positions in the table, counted in numbers after the cookie. The last five are offsets."""

    version: int
    free_threaded: int
    head: int  # from the table's own address: the newest interpreter
    id: int  # these within an interpreter
    next: int
    lock: int
    enabled: int  # within the lock: 0 when it is off


_PLACES = {
    (3, 13): _Places(0, 1, 4, 6, 7, 14, 15),
    (3, 14): _Places(0, 1, 4, 6, 7, 15, 16),
}


def lock_is_on(pid: int) -> bool | None:
    """Whether the lock of the main interpreter in this process is on; None: unknown."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            found = [_read(memory.fileno(), table) for table in _tables(pid)]
    except (OSError, ELFError, ValueError, struct.error):
        return None
    return next((each for each in found if each is not None), None)


def any_is_on(pids: Iterable[int]) -> bool | None:
    """Whether the lock of any of these processes is on; None where none of them tells."""
    told = [state for pid in pids if (state := lock_is_on(pid)) is not None]
    return any(told) if told else None


def _read(memory: int, table: int) -> bool | None:
    """The state of the lock, by the table of offsets at this address."""
    if os.pread(memory, len(_COOKIE), table) != _COOKIE:
        return None
    offsets = [_number(memory, table + 8 * each) for each in range(1, _MOST_OFFSETS)]
    version, free_threaded = offsets[:2]
    if not free_threaded:
        return True
    places = _PLACES.get((version >> 24, version >> 16 & 0xFF))
    if places is None:
        return None
    interpreter = _number(memory, table + offsets[places.head])
    for _ in range(_MOST_INTERPRETERS):
        if _number(memory, interpreter + offsets[places.id]) == 0:  # the main one
            at = interpreter + offsets[places.lock] + offsets[places.enabled]
            return _number(memory, at, 4) > 0
        interpreter = _number(memory, interpreter + offsets[places.next])
    return None


def _number(memory: int, address: int, length: int = 8) -> int:
    return int.from_bytes(os.pread(memory, length, address), "little")


def _tables(pid: int) -> list[int]:
    """The addresses of the section .PyRuntime in the program and in the libraries of a process."""
    bases: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        where, _, offset, _, _, *path = line.split(maxsplit=5)
        if path and int(offset, 16) == 0 and re.search(r"python", Path(path[0]).name):
            bases.setdefault(path[0], int(where.partition("-")[0], 16))
    return [
        base + address if movable else address
        for path, base in bases.items()
        for address, movable in [_section(path)]
        if address is not None
    ]


@functools.cache
def _section(path: str) -> tuple[int | None, bool]:
    """Where .PyRuntime lies in a file, and whether the address counts from where it is loaded."""
    with Path(path).open("rb") as file:
        elf = ELFFile(file)
        section = elf.get_section_by_name(".PyRuntime")
        return section["sh_addr"] if section else None, elf["e_type"] == "ET_DYN"
