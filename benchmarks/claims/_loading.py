"""What the experiments share: servers on chosen cores, loads on them, blocks in random order."""

import contextlib
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from c10k import catalog, check, drive, launch, machine, places, runtime
from c10k.claims import Setting
from c10k.model import Load, Server, Workload

CANONICAL = "@canonical"
WORKING = places.SERVERS / "working"
LOAD_TIMES = {"connecting": 128, "connect_timeout_s": 60.0, "drain_s": 20.0}


def servers(*names: str) -> list[Server]:
    """Servers by name that can run here; @canonical for the seven."""
    found = catalog.choose(names, catalog.find(places.SERVERS))
    return [server for server in found if not catalog.why_not(server)]


def working() -> list[Server]:
    """Every server at work that can run here."""
    return [server for server in catalog.find(WORKING) if not catalog.why_not(server)]


def shuffled(items: Sequence, block: int) -> list:
    """The items in an order that is random, and the same whenever block is."""
    return random.Random(block).sample(list(items), len(items))


@contextlib.contextmanager
def serving(
    setting: Setting, server: Server, cpus: Sequence[int] | None, python: str = sys.executable
) -> Iterator[launch.Running]:
    """A server that was checked, on these cores; None: on any. Raises launch.NotServing."""
    versions = runtime.prepare(server).depended_on
    found = check.checked(server, versions, places.cache() / "checks")
    if found.failures:
        raise launch.NotServing(f"{server.name} {found.failure}")
    log = setting.folder / f"{server.name}.log"
    with launch.serving(server, log, cpus=cpus, python=python) as running:
        yield running


def cores(count: int) -> list[int] | None:
    """The first cores of those that this process may use; None when there are too few."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return allowed[:count] if len(allowed) >= count else None


def closed(
    running: launch.Running,
    clients: int,
    seconds: float,
    *,
    cpus: Sequence[int] = (),
    connected: Callable[[drive.Connected], None] = lambda seen: None,
    sampled: Callable[[], None] = lambda: None,
) -> drive.Driven:
    """A closed loop of 64-byte messages, by the shared client on one core of cpus."""
    load = Load("closed", clients, 64, 1, warmup_s=0.25, duration_s=seconds)
    workload = Workload(
        "", "", (), 1, (load,), reference="", control=False, repeats=0, **LOAD_TIMES
    )

    def waited() -> None:
        if reason := running.gone():
            raise drive.ClientFailed(reason)

    plans = drive.plans(running.address, workload, load, [clients], 0)
    with drive.LocalCrew(plans, cpus) as crew:
        return drive.drive(crew, on_wait=waited, on_connected=connected, on_sample=sampled)


def pinned() -> tuple[Sequence[int] | None, Sequence[int]]:
    """The server's cores and the clients', as a session has them."""
    pinning = machine.cores()
    return pinning.server or None, pinning.clients or ()


class Crowd:
    """Clients that each send one message at the same time and say how long its echo took."""

    def __init__(self, running: launch.Running, clients: int) -> None:
        self.poll = select.epoll()
        self.sockets = {}
        for _ in range(clients):
            client = running.connect()
            client.setblocking(False)
            self.sockets[client.fileno()] = client
            self.poll.register(client.fileno(), select.EPOLLIN)
        self.waits_s()  # each has been served once

    def waits_s(self, timeout_s: float = 10.0) -> list[float]:
        """Seconds each waited, without those that got no echo in time."""
        sent, waits = {}, []
        for number, client in self.sockets.items():
            sent[number] = time.perf_counter()
            client.send(b"crowd".ljust(64))
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


def ask(client: socket.socket, work: str, milliseconds: int) -> None:
    """Sends a request of servers/working and awaits that it is done."""
    send(client, work, milliseconds)
    receive(client)


def send(client: socket.socket, work: str, milliseconds: int) -> None:
    client.sendall(f"!{work} {milliseconds}\n".encode())


def receive(client: socket.socket) -> None:
    """The echo that says a request is done."""
    answer = b""
    while not answer.endswith(b"\n"):
        answer += client.recv(64)


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
        preexec_fn=launch.child_setup(None),
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"{program} {' '.join(map(str, arguments))}: {last}")
    return done.stdout
