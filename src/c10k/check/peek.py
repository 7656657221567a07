"""The server's end of a connection, looked at from outside: a duplicate of its socket.

Linux hands out the descriptors of a process that one may trace, as a parent may trace its
child (pidfd_getfd, Linux 5.6): with no word to the server, which is neither stopped nor
asked. The duplicate is the same socket, so an option that is set on it is set on the
server's: cases do so on connections of their own only.
"""

import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from .client import Client, Informational

if sys.platform == "linux":
    import fcntl
    import termios

_PIDFD_GETFD = 438
_BYTES_RECEIVED_AT = 128  # tcpi_bytes_received, in struct tcp_info


def accepted(processes: Iterable[psutil.Process], client: Client) -> socket.socket:
    """The socket that the server accepted for a client. Raises Informational."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise Informational("not tried: only Linux lets one look at another process's sockets")
    for process in processes:
        for candidate in _sockets(process.pid):
            with contextlib.suppress(OSError):  # not connected: a listening socket
                if candidate.getpeername() == client.sock.getsockname():
                    return candidate
            candidate.close()
    raise Informational("not tried: the server's sockets may not be looked at (pidfd_getfd)")


def _sockets(pid: int) -> Iterable[socket.socket]:
    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        process = os.pidfd_open(pid)
        stack.callback(os.close, process)
        for place in Path(f"/proc/{pid}/fd").iterdir():
            number = libc.syscall(_PIDFD_GETFD, process, int(place.name), 0)
            if number < 0:
                continue
            try:
                duplicate = socket.socket(fileno=number)
            except OSError:  # a file, a pipe, an epoll
                os.close(number)
            else:
                yield duplicate


def queued_bytes(sock: socket.socket) -> int:
    """What has arrived and was not read yet."""
    (found,) = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))
    return int(found)


def read_bytes(sock: socket.socket) -> int:
    """What was read so far, since the connection was made."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED_AT + 8)
    (received,) = struct.unpack_from("Q", info, _BYTES_RECEIVED_AT)
    return int(received) - queued_bytes(sock)
