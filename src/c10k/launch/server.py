"""Starts a server on its listening socket; limits, affinity, stop.

The launcher makes the listening socket and hands it over as standard input, so every
server gets the same one: bound, listening with backlog 4096, TCP_NODELAY set (accepted
sockets inherit it). The launcher keeps its own copy, through which it can read the
accept queue at any time, and for the same reason must watch the server's process
itself: the kernel goes on accepting for a socket that someone still holds.

A server runs in a session of its own, so that whatever it forks ends with it, asks the
kernel to be killed when its parent dies, and is confined to writing in a folder of its own
(see confine.py; for what has left its session, or when the suite is killed, keeper.py).
Several copies of a server get either the
same listening socket or one each, bound to the same address with SO_REUSEPORT, between
which the kernel spreads the clients.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from ..model import Server
from . import confine, keeper
from .build import NotServing, command
from .child import ChildSetup
from .listen import Backlog, backlog, listen_for
from .log import last_line, trim

READY_S = 10.0
STOP_S = 2.0
REAP_S = 0.5  # from a process's last close to its end
_CALM_S = 0.2  # without work: a process has started and waits

_LOG_LIMIT_BYTES = 64 * 1024 * 1024  # the kernel's bound while it runs (RLIMIT_FSIZE)


class Stopped(NamedTuple):
    """How a server ended: seconds from SIGTERM, and whether it had to be killed."""

    took_s: float
    killed: bool


@dataclass
class Running:
    """A started server, one process or several. Its owner must call stop(), whatever happens."""

    server: Server
    processes: list[subprocess.Popen[bytes]]
    listeners: list[socket.socket]  # one, or one a process
    stdout: IO[bytes]
    log: Path
    mark: str  # of all its processes, in their environment (see keeper.py)
    folder: Path  # its own, the only place where it may write
    pinned: frozenset[int] | None = None
    ready_s: float = field(default=0.0)  # from start to the first echo

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The only process, or the first."""
        return self.processes[0]

    @property
    def listener(self) -> socket.socket:
        """The only listening socket, or the first."""
        return self.listeners[0]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

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
        """The accept queue as the kernel counts it, all together; None where it does not tell."""
        queues = [queue for each in self.listeners if (queue := backlog(each))]
        if not queues:
            return None
        return Backlog(sum(q.length for q in queues), sum(q.limit for q in queues))

    def said(self) -> bytes:
        """What it wrote on standard output, where it should say nothing; at most 4 KiB."""
        return os.pread(self.stdout.fileno(), 4096, 0)

    def gone(self, wait_s: float = 0.0) -> str:
        """Why the server is no longer there, in words; "" while all of it runs.

        wait_s: its sockets close a moment before it is reaped.
        """
        if wait_s and len(self.processes) == 1:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(wait_s)
        for process in self.processes:
            code = process.poll()
            if code is None:
                continue
            name = signal.Signals(-code).name if code < 0 else ""
            how = f"killed by {name}" if name else f"exited with code {code}"
            which = "the server" if len(self.processes) == 1 else "a process of the server"
            last = last_line(self.log)
            return f"{which} {how}" + (f": {last}" if last else "")
        return ""

    def stop(self) -> Stopped:
        """Ends the server and all it started: SIGTERM, two seconds, then SIGKILL.

        A second call does nothing.
        """
        if self.listener.fileno() < 0:
            return Stopped(0.0, False)
        began = time.monotonic()
        killed = False
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(max(0.0, began + STOP_S - time.monotonic()))
            except subprocess.TimeoutExpired:
                killed = True
        took_s = time.monotonic() - began
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what it forked, and itself if need be
            process.wait()
        keeper.sweep(self.mark)  # what had left its session
        shutil.rmtree(self.folder, ignore_errors=True)
        address = self.address
        for listener in self.listeners:
            listener.close()
        self.stdout.close()
        if isinstance(address, str):
            Path(address).unlink(missing_ok=True)
        try:
            trim(self.log)
        except OSError:  # what could not be looked through is not published
            with contextlib.suppress(OSError):
                os.truncate(self.log, 0)
        return Stopped(took_s, killed)


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
    try:
        with contextlib.ExitStack() as unless_serving:
            running = _open(server, log, bind, cpus)
            unless_serving.callback(running.stop)
            began = time.monotonic()
            _spawn(running, words, cpus)
            _await_echo(running, began + ready_s)
            if server.processes > 1:
                _await_calm(running, began + ready_s)
            unless_serving.pop_all()
    except OSError as error:
        raise NotServing(f"it cannot be started: {error}") from None
    running.ready_s = time.monotonic() - began
    return running


def _open(server: Server, log: Path, bind: str, cpus: Sequence[int] | None) -> Running:
    """What a server will need, before any process of it is there."""
    mark, folder = keeper.keeper().part()
    try:
        listeners = listen_for(server, bind)
    except OSError as error:
        raise NotServing(f"it has nothing to listen on: {error.strerror or error}") from None
    if isinstance(socket_file := listeners[0].getsockname(), str):
        keeper.keeper().remove(Path(socket_file))
    stdout = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the server runs
    pinned = frozenset(cpus) if cpus else None
    return Running(server, [], listeners, stdout, log, mark, folder, pinned)


def _spawn(running: Running, words: Sequence[str], cpus: Sequence[int] | None) -> None:
    """Starts the server's processes."""
    rules = confine.ruleset(running.folder)
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(running.folder),
        keeper.MARK: running.mark,
    }
    try:
        with running.log.open("ab") as errors:
            errors.truncate(0)  # appended to, as several processes may write it
            for index in range(running.server.processes):
                running.processes.append(
                    subprocess.Popen(
                        words,
                        stdin=running.listeners[index % len(running.listeners)].fileno(),
                        stdout=running.stdout,
                        stderr=errors,
                        start_new_session=True,
                        preexec_fn=ChildSetup(cpus, _LOG_LIMIT_BYTES, rules),
                        cwd=running.folder,
                        env=environment,
                    )
                )
    finally:
        if rules is not None:
            os.close(rules)


@contextlib.contextmanager
def serving(
    server: Server,
    log: Path,
    *,
    bind: str = "127.0.0.1:0",
    cpus: Sequence[int] | None = None,
    python: str = sys.executable,
) -> Iterator[Running]:
    """start() and stop() as a with block."""
    running = start(server, log, bind=bind, cpus=cpus, python=python)
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
                first = client.recv(1)
                if first == b"?":
                    return
                said = f"it said {first!r} unasked" if first else "it closed the first connection"
                raise NotServing(running.gone(REAP_S) or f"no first echo: {said}")
            except TimeoutError:
                pass
            except OSError as error:
                raise NotServing(running.gone(REAP_S) or f"no first echo: {error}") from None
            if reason := running.gone():
                raise NotServing(reason)
            if time.monotonic() > deadline:
                last = last_line(running.log)
                raise NotServing("no echo after it was started" + (f": {last}" if last else ""))


def _await_calm(running: Running, deadline: float) -> None:
    """Until no process works any more: which one answers an echo cannot be chosen."""
    before: list[float] = []
    while before != (before := [sum(psutil.Process(pid).cpu_times()[:2]) for pid in running.pids]):
        time.sleep(_CALM_S)
        if reason := running.gone():
            raise NotServing(reason)
        if time.monotonic() > deadline:
            raise NotServing("its processes did not come to rest after they were started")
