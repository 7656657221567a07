"""The listening socket that every server gets, and its accept queue."""

import errno
import ipaddress
import random
import socket
import struct
import sys
from typing import NamedTuple

from ..model import Server

BACKLOG = 4096


class Backlog(NamedTuple):
    """A listening socket's accept queue: how many connections wait in it, and its limit."""

    length: int
    limit: int


def listen(bind: str = "127.0.0.1:0", *, shared: bool = False) -> socket.socket:
    """The listening socket that every server gets. bind: HOST:PORT, [IPV6]:PORT or unix:PATH.

    shared: other sockets may listen on the same address (SO_REUSEPORT). Raises OSError when the
    address is taken or not one of this machine, ValueError when it is not an address.
    """
    if bind.startswith("unix:"):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: str | tuple[str, int] = bind.removeprefix("unix:")
    else:
        host, separator, port = bind.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"invalid address {bind!r}: write HOST:PORT, [IPV6]:PORT or unix:PATH")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        target = (host or "127.0.0.1", int(port))
    try:
        try:
            listener.bind(target)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or target[1:] != (0,):
                raise
            _bind_apart(listener, str(target[0]))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def exposure(address: tuple[str, int] | str, tls: bool = False) -> str:
    """Who else can use a server on this address, as a warning; "" when nobody can."""
    if isinstance(address, str) or ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
        return ""
    how = "" if tls else ", unencrypted"
    return f"anyone who can reach {address[0]} port {address[1]} can use this server{how}"


def _bind_apart(listener: socket.socket, host: str) -> None:
    """Binds to a port outside the range from which the kernel gives ports to clients.

    Ports of clients that have just left stay taken for a minute. After some trials with
    20,000 clients the kernel finds no port for a listener within that range.
    """
    for _ in range(100):
        try:
            listener.bind((host, random.randrange(10_000, 32_000)))
        except OSError:
            continue
        return
    raise OSError(errno.EADDRINUSE, "no port is free for a listener")


def backlog(listener: socket.socket) -> Backlog | None:
    """A listening socket's accept queue; None where the kernel does not report it."""
    if sys.platform != "linux" or listener.family == socket.AF_UNIX:
        return None
    # For a listening socket tcpi_unacked is the queue's length, tcpi_sacked its limit.
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    length, limit = struct.unpack_from("II", info, 24)
    return Backlog(length, limit)


def listen_for(server: Server, bind: str) -> list[socket.socket]:
    """One listening socket, or with reuseport one for each process, all on the same address.

    Its address is shared for a server that opens more sockets on it by itself, too.
    """
    if server.sharing != "reuseport":
        return [listen(bind, shared=server.reuseport)]
    first = listen(bind, shared=True)
    listeners = [first]
    try:
        if first.family == socket.AF_UNIX:
            raise ValueError("a UNIX socket's address cannot be shared (SO_REUSEPORT)")
        host, port = first.getsockname()[:2]
        host = f"[{host}]" if first.family == socket.AF_INET6 else host
        listeners += [listen(f"{host}:{port}", shared=True) for _ in range(server.processes - 1)]
    except BaseException:
        for each in listeners:
            each.close()
        raise
    return listeners
