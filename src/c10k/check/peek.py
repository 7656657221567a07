"""The server's end of a connection, examined from outside through a duplicate of its socket.

Linux copies a descriptor out of a process that one may trace, as a parent may trace its child
(pidfd_getfd, Linux 5.6). The server is neither stopped nor notified. The duplicate is the same
socket, so an option that is set on it is also set for the server; cases do that only on their
own connections.
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
_BYTES_RECEIVED_AT = 128  # the offset of tcpi_bytes_received in struct tcp_info


def accepted(processes: Iterable[psutil.Process], client: Client) -> socket.socket:
    """The socket that the server accepted for a client. Raises Informational."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise Informational("not tried: only Linux gives access to another process's sockets")
    for process in processes:
        for candidate in _sockets(process.pid):
            with contextlib.suppress(OSError):  # not connected: a listening socket
                if candidate.getpeername() == client.sock.getsockname():
                    return candidate
            candidate.close()
    raise Informational("not tried: no access to the server's sockets (pidfd_getfd)")


def _sockets(pid: int) -> Iterable[socket.socket]:
    """Duplicates of a process's sockets; none where it is gone or may not be traced."""
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
    """How many bytes have arrived that were not read yet."""
    (found,) = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))
    return int(found)


def read_bytes(sock: socket.socket) -> int:
    """How many bytes were read since the connection was made."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED_AT + 8)
    (received,) = struct.unpack_from("Q", info, _BYTES_RECEIVED_AT)
    return int(received) - queued_bytes(sock)
