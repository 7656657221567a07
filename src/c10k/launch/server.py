"""Starts a server on its listening socket, waits until it serves, and stops it.

The launcher makes the listening socket and hands it over as standard input, so every server
gets the same one: bound, listening with backlog 4096, TCP_NODELAY set (accepted sockets
inherit it). The launcher keeps a copy of it, through which it can read the accept queue at
any time. As long as someone holds the socket the kernel accepts connections for it, so the
launcher must watch the server's process to notice its end.

A server runs in a session of its own, so that everything it forks can be killed with it. The
kernel kills it when its parent dies. It can write in a folder of its own only (confine.py).
Processes that have left its session, or that remain when the suite is killed, are killed by
the keeper (keeper.py).

Several copies of a server get either the same listening socket, or one each, bound to the
same address with SO_REUSEPORT, between which the kernel distributes the clients.
"""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import psutil

from ..errors import os_reason
from ..model import Server
from . import backend, certificate, confine, keeper
from .build import NotServing, command
from .certificate import Certificate
from .child import Child, ChildSetup
from .listen import Backlog, backlog, listen_for
from .log import last_line, trim

READY_S = 10.0
STOP_S = 2.0
REAP_S = 0.5  # from when a process closes its last socket to its end
_CALM_S = 0.2  # without CPU use, after which a process has started and waits

Result = TypeVar("Result")

_LOG_LIMIT_BYTES = 64 * 1024 * 1024  # while it runs, kept by the kernel (RLIMIT_FSIZE)


class Stopped(NamedTuple):
    """How a server ended: seconds from SIGTERM, and whether it had to be killed."""

    took_s: float
    killed: bool


@dataclass
class Running:
    """A started server of one or several processes. Its owner must call stop() in any case."""

    server: Server
    processes: list[Child]
    listeners: list[socket.socket]  # one, or one for each process
    stdout: IO[bytes]
    log: Path
    mark: str  # in the environment of all its processes (see keeper.py)
    folder: Path  # the only one in which it can write
    pinned: frozenset[int] | None = None
    redis: backend.Redis | None = None  # of a server that needs one
    certificate: Certificate | None = None  # of a server that speaks TLS
    ready_s: float = field(default=0.0)  # from start to the first echo

    @property
    def process(self) -> Child:
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
        """A blocking connection to this server, TCP_NODELAY set where it applies; without TLS."""
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

    def wrapped(self, client: socket.socket) -> socket.socket:
        """The connection, over TLS before its handshake if the server speaks TLS."""
        return self.certificate.wrap(client) if self.certificate else client

    def backlog(self) -> Backlog | None:
        """The accept queue, summed over all listening sockets; None where it is not reported."""
        queues = [queue for each in self.listeners if (queue := backlog(each))]
        if not queues:
            return None
        return Backlog(sum(q.length for q in queues), sum(q.limit for q in queues))

    def said(self) -> bytes:
        """What it wrote on standard output, which should be nothing; at most 4 KiB."""
        return os.pread(self.stdout.fileno(), 4096, 0)

    def why_gone(self, wait_s: float = 0.0) -> str:
        """How a process of the server ended, and its last words; "" while all of them run.

        The end of its Redis comes first, as the server may end because of it.
        wait_s: how long to wait for the end, as its sockets close a moment earlier.
        """
        if wait_s and len(self.processes) == 1:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(wait_s)
        if self.redis and (reason := self.redis.why_gone()):
            return reason
        for process in self.processes:
            code = process.poll()
            if code is None:
                continue
            how = process.killed() or f"exited with code {code}"
            which = "the server" if len(self.processes) == 1 else "a process of the server"
            last = last_line(self.log)
            return f"{which} {how}" + (f": {last}" if last else "")
        return ""

    def stop(self) -> Stopped:
        """Ends the server, all that it started, and its Redis: SIGTERM, SIGKILL after two seconds.

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
                os.killpg(process.pid, signal.SIGKILL)  # itself and what it forked
            process.wait()
        keeper.sweep(self.mark)  # what has left its session
        if self.redis:
            self.redis.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        address = self.address
        for listener in self.listeners:
            listener.close()
        self.stdout.close()
        if isinstance(address, str):
            Path(address).unlink(missing_ok=True)
        try:
            trim(self.log)
        except OSError:  # a log that could not be searched for the home folder is not published
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

    log: the file for its standard error. cpus: the cores that it may use, None for those of
    this process. Raises NotServing when it does not echo within ready_s seconds.
    """
    words = command(server, python)
    try:
        with contextlib.ExitStack() as unless_serving:
            running = _open(server, log, bind, cpus)
            unless_serving.callback(running.stop)
            running.redis = backend.start(server, cpus)
            if server.tls:
                at = running.address
                running.certificate = certificate.for_host("" if isinstance(at, str) else at[0])
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
    """A server with all that it needs, before its processes are started."""
    mark, folder = keeper.keeper().reserve()
    try:
        listeners = listen_for(server, bind)
    except OSError as error:
        raise NotServing(f"cannot listen on {bind}: {os_reason(error)}") from None
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
        **(running.certificate.environment if running.certificate else {}),
        **(running.redis.environment if running.redis else {}),
    }
    try:
        with running.log.open("ab") as errors:
            errors.truncate(0)  # opened to append, as several processes may write to it
            for index in range(running.server.processes):
                running.processes.append(
                    Child(
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
    """A started server, which is stopped at the end of the with block."""
    running = start(server, log, bind=bind, cpus=cpus, python=python)
    try:
        yield running
    finally:
        running.stop()


def _await_echo(running: Running, deadline: float) -> None:
    """Waits until one byte comes back. Until then the connection is in the accept queue."""
    with running.connect() as plain, running.wrapped(plain) as client:
        client.settimeout(0.05)
        try:
            if isinstance(client, ssl.SSLSocket):
                _patiently(client.do_handshake, running, deadline)
        except OSError as error:
            why = certificate.why_no_handshake(error)
            raise NotServing(running.why_gone(REAP_S) or why) from None
        try:
            client.sendall(b"?")
            first = _patiently(lambda: client.recv(1), running, deadline)
        except OSError as error:
            raise NotServing(running.why_gone(REAP_S) or f"no first echo: {error}") from None
        if first != b"?":
            said = f"it sent {first!r} instead" if first else "it closed the first connection"
            raise NotServing(running.why_gone(REAP_S) or f"no first echo: {said}")


def _patiently(step: Callable[[], Result], running: Running, deadline: float) -> Result:
    """What the step returns, which is tried again after each TimeoutError. Raises NotServing."""
    while True:
        try:
            return step()
        except TimeoutError:
            pass
        if reason := running.why_gone():
            raise NotServing(reason)
        if time.monotonic() > deadline:
            last = last_line(running.log)
            raise NotServing("no echo after it was started" + (f": {last}" if last else ""))


def _await_calm(running: Running, deadline: float) -> None:
    """Waits until no process uses CPU any more, which is when all of them have started.

    An echo would not show that: which process answers it cannot be chosen.
    """
    previous, current = None, _cpu_s(running)
    while current != previous:
        time.sleep(_CALM_S)
        if reason := running.why_gone():
            raise NotServing(reason)
        if time.monotonic() > deadline:
            raise NotServing("its processes did not come to rest after they were started")
        previous, current = current, _cpu_s(running)


def _cpu_s(running: Running) -> list[float]:
    """CPU time that each of the server's processes has used so far, in s."""
    return [sum(psutil.Process(pid).cpu_times()[:2]) for pid in running.pids]
