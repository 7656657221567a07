"""Confines a server: it writes files only in its own folder, and signals only what it forked.

Landlock (Linux 5.13, signals from 6.12) does it without privileges. It checks when a file is
opened or changed by name, or a signal is sent, so it costs nothing while bytes are echoed. The
server can still use what it was given open (its socket, its log). Where the kernel has no
Landlock, nothing is confined.

The system calls are made by ctypes, as the standard library has no function for them and the
package on PyPI is a development version.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38
_WRITE_FILE, _TRUNCATE, _REFER = 1 << 1, 1 << 14, 1 << 13
_CHANGE_NAMES = 0b1_1111_1111_0000  # make and remove files, folders, links, sockets, devices
_SCOPES = 0b11  # abstract UNIX sockets, signals


def ruleset(folder: Path) -> int | None:
    """A descriptor of rules that allow writing in this folder; None where there is no Landlock.

    Writing to /dev, with shared memory in it, is allowed as well, as programs expect it.
    """
    if _LIBC is None:
        return None
    abi = _LIBC.syscall(_CREATE, None, 0, _VERSION)
    if abi < 1:
        return None
    writes = _WRITE_FILE | _CHANGE_NAMES
    writes |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    fields = (writes, 0, _SCOPES) if abi >= 6 else (writes,)
    asked = struct.pack(f"{len(fields)}Q", *fields)
    rules = int(_LIBC.syscall(_CREATE, asked, len(asked), 0))
    if rules < 0:
        return None
    for place in (folder, Path("/dev")):
        beneath = os.open(place, os.O_PATH | os.O_CLOEXEC)
        try:
            _LIBC.syscall(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", writes, beneath), 0)
        finally:
            os.close(beneath)
    return rules


def enter(rules: int) -> None:
    """Confines this process and all that it will fork; this cannot be undone."""
    if _LIBC is not None and _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        _LIBC.syscall(_RESTRICT, rules, 0)
