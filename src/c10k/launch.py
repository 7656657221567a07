"""Starts a server on its listening socket; limits, affinity, stop.

The launcher makes the listening socket and hands it over as standard input, so every
server gets the same one: bound, listening with backlog 4096, TCP_NODELAY set (accepted
sockets inherit it). The launcher keeps its own copy, through which it can read the
accept queue at any time, and for the same reason must watch the server's process
itself: the kernel goes on accepting for a socket that someone still holds.

A server runs in a session of its own, so that whatever it forks ends with it, and asks
the kernel to be killed when its parent dies.
"""

import contextlib
import ctypes
import hashlib
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from . import places
from .model import Server

BACKLOG = 4096
READY_S = 10.0
STOP_S = 2.0
LOG_BYTES = 64 * 1024  # kept of a server's output, the first and the last half
_LOG_LIMIT_BYTES = 64 * 1024 * 1024  # the kernel's bound while it runs (RLIMIT_FSIZE)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class NotServing(Exception):
    """The server cannot be built or did not come to serve; the message is the row's reason."""


class Backlog(NamedTuple):
    """A listening socket's accept queue: connections waiting in it, and its bound."""

    length: int
    limit: int


class Stopped(NamedTuple):
    """How a server ended: seconds from SIGTERM, and whether it had to be killed."""

    took_s: float
    killed: bool


@dataclass
class Running:
    """A started server. Its owner must call stop(), whatever happened."""

    server: Server
    process: subprocess.Popen[bytes]
    listener: socket.socket
    stdout: IO[bytes]
    log: Path
    pinned: frozenset[int] | None = None
    ready_s: float = field(default=0.0)  # from start to the first echo

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> tuple[str, int] | str:
        """(host, port), or the path of a UNIX socket."""
        name = self.listener.getsockname()
        return name if isinstance(name, str) else (name[0], name[1])

    def connect(self, timeout_s: float = 5.0) -> socket.socket:
        """A blocking connection to this server, TCP_NODELAY set where it applies."""
        client = socket.socket(self.listener.family, socket.SOCK_STREAM)
        client.settimeout(timeout_s)
        try:
            if self.listener.family != socket.AF_UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.connect(self.listener.getsockname())
        except BaseException:
            client.close()
            raise
        return client

    def backlog(self) -> Backlog | None:
        """The accept queue as the kernel counts it; None where it does not tell."""
        return backlog(self.listener)

    def said(self) -> bytes:
        """What it wrote on standard output, where it should say nothing; at most 4 KiB."""
        return os.pread(self.stdout.fileno(), 4096, 0)

    def gone(self) -> str:
        """Why the server is no longer there, in words; "" while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        last = last_line(self.log)
        return f"the server {how}" + (f": {last}" if last else "")

    def stop(self) -> Stopped:
        """Ends the server and all it started: SIGTERM, two seconds, then SIGKILL.

        A second call does nothing.
        """
        if self.listener.fileno() < 0:
            return Stopped(0.0, False)
        began = time.monotonic()
        killed = False
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                killed = True
        took_s = time.monotonic() - began
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what it forked, and itself if need be
        self.process.wait()
        address = self.address
        self.listener.close()
        self.stdout.close()
        if isinstance(address, str):
            Path(address).unlink(missing_ok=True)
        trim(self.log)
        return Stopped(took_s, killed)


def listen(bind: str = "127.0.0.1:0") -> socket.socket:
    """The listening socket every server gets. bind: HOST:PORT, [IPV6]:PORT or unix:PATH.

    Raises OSError when the address is taken or not this machine's, ValueError when it
    is no address.
    """
    if bind.startswith("unix:"):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target: str | tuple[str, int] = bind.removeprefix("unix:")
    else:
        host, separator, port = bind.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{bind!r} is no address: write HOST:PORT, [IPV6]:PORT or unix:PATH")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = (host or "127.0.0.1", int(port))
    try:
        listener.bind(target)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def backlog(listener: socket.socket) -> Backlog | None:
    """A listening socket's accept queue; None where the kernel does not tell."""
    if sys.platform != "linux" or listener.family == socket.AF_UNIX:
        return None
    # For a listening socket tcpi_unacked is the queue's length, tcpi_sacked its bound.
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    length, limit = struct.unpack_from("II", info, 24)
    return Backlog(length, limit)


def command(server: Server, python: str = sys.executable) -> list[str]:
    """The command line that starts a server; builds it first where it must be built.

    -P: no module beside the file can shadow a library. Raises NotServing.
    """
    if not server.start:
        return [python, "-P", str(places.file_of(server.path))]
    binary = _build(server) if server.build else ""
    here = str(places.file_of(server.path).parent)
    return [word.format(out=binary, here=here) for word in server.start]


def _build(server: Server) -> str:
    """Builds into the cache, under a name made of the sources and the command."""
    path = places.file_of(server.path)
    digest = hashlib.sha256(repr(server.build).encode())
    for source in sorted(path.parent.glob(f"{path.stem}.*")):
        digest.update(source.read_bytes())
    folder = places.cache() / "built"
    binary = folder / f"{server.name}-{digest.hexdigest()[:16]}"
    if binary.exists():
        return str(binary)
    compiler = server.build[0]
    if shutil.which(compiler) is None:
        raise NotServing(f"no compiler: {compiler} is not on PATH (apt-get install gcc)")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch) / server.name
        words = [word.format(out=out, here=path.parent) for word in server.build]
        built = subprocess.run(words, capture_output=True, text=True, check=False)
        if built.returncode:
            first = next(iter(built.stderr.splitlines()), f"code {built.returncode}")
            raise NotServing(f"it does not compile: {first}")
        out.replace(binary)  # whole or not at all, also when two build at once
    return str(binary)


def start(
    server: Server,
    log: Path,
    *,
    bind: str = "127.0.0.1:0",
    cpus: Sequence[int] | None = None,
    python: str = sys.executable,
    ready_s: float = READY_S,
) -> Running:
    """Starts a server and waits for its first echo.

    log takes its standard error. cpus: the cores it may use; None leaves
    them as they are. Raises NotServing when it does not echo within ready_s seconds.
    """
    words = command(server, python)
    listener = listen(bind)
    stdout = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
    began = time.monotonic()
    try:
        with log.open("wb") as errors:
            process = subprocess.Popen(
                words,
                stdin=listener.fileno(),
                stdout=stdout,
                stderr=errors,
                start_new_session=True,
                preexec_fn=child_setup(cpus, file_bytes=_LOG_LIMIT_BYTES),
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
    except OSError as error:
        listener.close()
        stdout.close()
        raise NotServing(f"it cannot be started: {error}") from None
    running = Running(server, process, listener, stdout, log, frozenset(cpus) if cpus else None)
    try:
        _await_echo(running, began + ready_s)
    except BaseException:
        running.stop()
        raise
    running.ready_s = time.monotonic() - began
    return running


@contextlib.contextmanager
def serving(server: Server, log: Path, *, bind: str = "127.0.0.1:0") -> Iterator[Running]:
    """start() and stop() as a with block."""
    running = start(server, log, bind=bind)
    try:
        yield running
    finally:
        running.stop()


def _await_echo(running: Running, deadline: float) -> None:
    """One byte there and back. The connection waits in the accept queue until it is served."""
    with running.connect() as client:
        client.sendall(b"?")
        client.settimeout(0.05)
        while True:
            try:
                if client.recv(1) == b"?":
                    return
                raise NotServing(running.gone() or "the first connection was closed, not echoed")
            except TimeoutError:
                pass
            except OSError as error:
                raise NotServing(running.gone() or f"no first echo: {error}") from None
            if reason := running.gone():
                raise NotServing(reason)
            if time.monotonic() > deadline:
                last = last_line(running.log)
                raise NotServing("no echo after it was started" + (f": {last}" if last else ""))


class child_setup:
    """What a child does between fork and exec; picklable state, no allocation to speak of."""

    def __init__(self, cpus: Sequence[int] | None, file_bytes: int | None = None) -> None:
        self.cpus = cpus
        self.file_bytes = file_bytes
        self.parent = os.getpid()

    def __call__(self) -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self.parent:
                os._exit(1)
        if self.cpus and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cpus)
        if self.file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))


def raise_descriptor_limit() -> int:
    """Raises the soft limit on descriptors to the hard one; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def last_line(log: Path) -> str:
    """The last line that says something, for a reason; at most 200 characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:200] if lines else ""


def trim(log: Path) -> None:
    """Keeps the first and the last half of LOG_BYTES and says how much is left out."""
    size = log.stat().st_size
    if size <= LOG_BYTES:
        return
    half = LOG_BYTES // 2
    with log.open("rb") as file:
        head = file.read(half)
        file.seek(size - half)
        tail = file.read()
    log.write_bytes(head + b"\n[... %d bytes left out ...]\n" % (size - LOG_BYTES) + tail)
