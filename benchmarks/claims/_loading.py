"""What the experiments share: servers on chosen cores, loads on them, blocks in random order."""

import contextlib
import functools
import json
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from c10k import check, launch, machine, paths
from c10k.claims import Setting
from c10k.declare import catalog, choosing
from c10k.launch import requirements, runtime
from c10k.launch.interpreter import Interpreter
from c10k.model import Server
from c10k.text import on_interpreter

Item = TypeVar("Item")

CANONICAL = "@canonical"
WORKING = paths.SERVERS / "working"
BACKEND = paths.SERVERS / "backend"
CONNECTING = 128  # connections in flight while a crowd connects
STALLED_S, REST_S, GIVEN_UP_MS = 0.050, 0.050, 10_000.0


def servers(*names: str) -> list[Server]:
    """Servers by name that can run here; @canonical for the seven."""
    found = choosing.choose(names, catalog.find(paths.SERVERS))
    return [server for server in found if not requirements.why_not_runnable(server)]


def on(server: Server, interpreter: Interpreter) -> Server | None:
    """The server on this interpreter; None where it cannot run there."""
    if interpreter.path == sys.executable:
        return server
    moved = replace(server, python=interpreter.path, isolated=True)
    try:
        runtime.prepare(moved)
    except runtime.CannotRun:
        return None
    return moved


def called(interpreter: Interpreter) -> str:
    """An interpreter in the words of a claim's parts."""
    return f"Python {on_interpreter(interpreter.version, interpreter.build, interpreter.gil)}"


def working() -> list[Server]:
    """Every server at work that can run here."""
    return [server for server in catalog.find(WORKING) if not requirements.why_not_runnable(server)]


def asking_redis() -> list[Server]:
    """Every server of servers/backend that can run here. Raises RuntimeError when none can."""
    found = catalog.find(BACKEND)
    reasons = {server: requirements.why_not_runnable(server) for server in found}
    if all(reasons.values()):
        raise RuntimeError(next(iter(reasons.values()), "there are no such servers"))
    return [server for server in found if not reasons[server]]


def has_threads(name: str) -> bool:
    """Whether this server's unit of concurrency is a thread."""
    return any(server.name == name and server.unit == "thread" for server in _known())


@functools.cache
def _known() -> tuple[Server, ...]:
    return tuple(
        server for folder in (paths.SERVERS, WORKING, BACKEND) for server in catalog.find(folder)
    )


def shuffled(items: Iterable[Item], block: int) -> list[Item]:
    """The items in random order; the same block gives the same order."""
    order = list(items)
    return random.Random(block).sample(order, len(order))


@contextlib.contextmanager
def serving(
    setting: Setting, server: Server, cpus: Sequence[int] | None
) -> Iterator[launch.Running]:
    """A checked server running on these cores (None: on any). Raises launch.NotServing."""
    runs_on, folder = runtime.prepare(server), paths.cache() / "checks"
    versions, python = runs_on.depended_on, runs_on.executable or sys.executable
    found = check.remembered(server, versions, folder)
    found = found or check.check(server, versions=versions, workdir=folder, python=python)
    if found.failures:
        raise launch.NotServing(f"{server.name} {found.failure}")
    log = setting.folder / f"{server.name}.log"
    with launch.serving(server, log, cpus=cpus, python=python) as running:
        yield running


def cores(count: int) -> list[int] | None:
    """The first `count` cores that this process may use; None when there are too few."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return allowed[:count] if len(allowed) >= count else None


@contextlib.contextmanager
def loaded(
    running: launch.Running, clients: int, seconds: float, cpus: Sequence[int] = ()
) -> Iterator[None]:
    """Runs a closed loop of 64-byte messages by one shared client while the block lasts.

    The block begins when every client has had its first echo, and must end before `seconds`
    are over. Raises RuntimeError when the clients could not connect.
    """
    where = running.address
    target = {"path": where} if isinstance(where, str) else {"host": where[0], "port": where[1]}
    plan = {**target, "clients": clients, "warmup_s": 0, "duration_s": seconds, "drain_s": 0}
    client = launch.Child(
        [sys.executable, str(paths.CLIENT), "--plan", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=launch.ChildSetup(cpus or None),
    )
    with client:
        assert client.stdin and client.stdout  # pipes, as asked for
        try:
            client.stdin.write(json.dumps(plan).encode() + b"\n")
            client.stdin.close()
            first = json.loads(client.stdout.readline() or b"{}")
            if first.get("served") != clients:
                raise RuntimeError(f"{running.server.name}: {clients} clients could not connect")
            yield
            if client.poll() is not None:
                raise RuntimeError(f"{running.server.name}: its load ended before it was seen")
        finally:
            client.kill()


@contextlib.contextmanager
def moved(cpus: Sequence[int]) -> Iterator[None]:
    """Moves this process to these cores while the block lasts; without any, it stays."""
    if not cpus or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pinned() -> tuple[Sequence[int] | None, Sequence[int]]:
    """The server's cores and the clients', as a session has them."""
    pinning = machine.cores()
    return pinning.server or None, pinning.clients or ()


class Crowd:
    """Clients in this process, which record when each message left and when its echo came."""

    def __init__(self, running: launch.Running, clients: int, message: bytes = b"crowd") -> None:
        """Connects them; each has had one echo when this returns. Raises RuntimeError.

        message: what each sends, filled up to 64 bytes.
        """
        self.message = message.ljust(64)
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        while len(self.sockets) < clients:
            some = []
            for _ in range(min(CONNECTING, clients - len(self.sockets))):
                client = running.connect()
                client.setblocking(False)
                self.sockets[client.fileno()] = client
                self.poll.register(client.fileno(), select.EPOLLIN)
                some.append(client.fileno())
            if len(self._waits_s(some, 10.0)) < len(some):
                raise RuntimeError(f"{running.server.name} did not serve {clients} clients")

    def waits_s(self, timeout_s: float = 10.0) -> list[float]:
        """How long each client waited when all send at once (s); those without an echo in
        time are left out."""
        return self._waits_s(list(self.sockets), timeout_s)

    def one_by_one(self, messages: int) -> None:
        """Sends one message at a time, each from another client. Raises RuntimeError."""
        numbers = list(self.sockets)
        for message in range(messages):
            # a stride that reaches clients all over the list before it reaches one again
            number = numbers[message * 7919 % len(numbers)]
            if not self._waits_s([number], 10.0):
                raise RuntimeError("a lone message got no echo")

    def _waits_s(self, numbers: Sequence[int], timeout_s: float) -> list[float]:
        sent: dict[int, float] = {}
        waits: list[float] = []
        for number in numbers:
            sent[number] = time.perf_counter()
            self.sockets[number].send(self.message)
        deadline = time.perf_counter() + timeout_s
        while len(waits) < len(sent) and time.perf_counter() < deadline:
            for number, _ in self.poll.poll(0.1):
                if len(self.sockets[number].recv(64)) == 64:
                    waits.append(time.perf_counter() - sent[number])
        return waits

    def close(self) -> None:
        for client in self.sockets.values():
            client.close()
        self.poll.close()


def meanwhile(
    crowd: Crowd, asking: Sequence[socket.socket], work: str, milliseconds: int
) -> dict[str, float]:
    """How a crowd fares while the handlers of other clients do a work.

    share: of the crowd that waited STALLED_S or longer. longest: the longest wait of the crowd,
    in ms. done: when the last of those handlers was done, in ms.
    """
    time.sleep(REST_S)  # a server works for a while after its last echo
    began = time.perf_counter()
    for client in asking:
        send(client, work, milliseconds)
    time.sleep(0.005)
    waits, others = sorted(crowd.waits_s()), len(crowd.sockets)
    for client in asking:
        receive(client)
    late = sum(wait >= STALLED_S for wait in waits) + others - len(waits)
    return {
        "share": late / others,
        "longest": waits[-1] * 1000 if len(waits) == others else GIVEN_UP_MS,
        "done": (time.perf_counter() - began) * 1000,
    }


def ask(client: socket.socket, work: str, milliseconds: int) -> None:
    """Sends a request to a server of servers/working, and waits until it is done."""
    send(client, work, milliseconds)
    receive(client)


def send(client: socket.socket, work: str, milliseconds: int) -> None:
    client.sendall(f"!{work} {milliseconds}\n".encode())


def receive(client: socket.socket) -> None:
    """The echo that says a request is done. Raises RuntimeError when the server is gone."""
    answer = b""
    while not answer.endswith(b"\n"):
        part = client.recv(64)
        if not part:
            raise RuntimeError("the server ended before it answered")
        answer += part


def unit(program: str, *arguments: object, python: str = sys.executable) -> str:
    """What a program of units/ prints, run in a process of its own."""
    path = Path(__file__).with_name("units") / program
    done = subprocess.run(
        [python, str(path), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        start_new_session=True,
        preexec_fn=launch.ChildSetup(None),
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"{program} {' '.join(map(str, arguments))}: {last}")
    return done.stdout
