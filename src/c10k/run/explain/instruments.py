"""Instruments that are attached to a running server, and detached again.

They are attached when every client is connected and nothing is on its way, and detached after
the last echo. So what they count belongs to a known number of messages.

strace, perf and py-spy are children in a session of their own, so that a Ctrl-C does not reach
them; they are ended by their id, and the kernel ends them when this process dies.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ... import paths
from ...errors import os_reason
from ...launch import Child, ChildSetup, interpreter, last_line, processes
from . import parsing

ATTACH_S = 30.0  # the longest wait until an instrument is ready
DETACH_S = 30.0  # and until it has written what it saw
RATE = 100  # samples/s of py-spy
EVENTS = ("instructions", "cycles")
_LOOK_S = 0.02

_INSTALL = {
    "strace": "apt install strace",
    "perf": "apt install linux-perf (Debian) or linux-tools-generic (Ubuntu)",
    "py-spy": "",  # by pip
}


class Unavailable(Exception):
    """An instrument cannot be used; the message says why, and what to do if that is known."""


def program(name: str) -> str:
    """The path of an instrument's program. Raises Unavailable, with how to install it."""
    found = shutil.which(name, path=interpreter.search_path())
    if found is None:
        remedy = _INSTALL[name] or paths.pip_install(name)
        raise Unavailable(f"{name} is not installed: {remedy}")
    return found


def statuses(pids: Sequence[int]) -> dict[int, str]:
    """The status of every thread of these processes, by its id; without those that are gone."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):
                    found[int(task.name)] = (task / "status").read_text()
    return found


class Instrument:
    """What is attached to the processes of a server, whose ids are given, and detached.

    In a with statement nothing of it is left running.
    """

    name = ""
    slows = True  # whether it may slow the server so far that this cannot keep up

    def attach(self, pids: Sequence[int]) -> None:
        """Begins to count. Raises Unavailable."""

    def detach(self) -> None:
        """Ends counting. Raises Unavailable."""

    def __enter__(self) -> "Instrument":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what runs."""


class ContextSwitches(Instrument):
    """The kernel's own counts, which are read before and after; nothing runs meanwhile."""

    name = "kernel"
    slows = False
    seen: parsing.Switches | None = None

    def attach(self, pids: Sequence[int]) -> None:
        self.pids = pids
        self.before = self._read()
        if not self.before:
            raise Unavailable("the kernel does not show the switches of threads (/proc)")

    def detach(self) -> None:
        self.seen = parsing.added(self.before, self._read())

    def _read(self) -> dict[int, parsing.Switches]:
        read = {tid: parsing.switches(text) for tid, text in statuses(self.pids).items()}
        return {tid: each for tid, each in read.items() if each is not None}


class _Tool(Instrument):
    """An instrument that is a program."""

    def __init__(self, folder: Path) -> None:
        """folder: for what the program writes."""
        self.path = program(self.name)
        self.log = folder / f"{self.name}.log"
        self.out = folder / f"{self.name}.out"
        self.child: Child | None = None

    def start(self, *words: str, **options: Any) -> Child:
        with self.log.open("wb") as log:
            self.child = Child(
                [self.path, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ChildSetup(None),
                **options,
            )
        return self.child

    def until(self, ready: Callable[[], bool]) -> None:
        """Waits until it is ready. Raises Unavailable when it ends before, or is too late."""
        assert self.child is not None
        deadline = time.monotonic() + ATTACH_S
        while not ready():
            if (code := self.child.poll()) is not None:
                raise Unavailable(self.why(f"it ended with code {code}"))
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} was not ready within {ATTACH_S:g} s")
            time.sleep(_LOOK_S)

    def finish(self) -> str:
        """Interrupts it, as a user would, and returns what it then wrote. Raises Unavailable."""
        assert self.child is not None
        with suppress(ProcessLookupError):
            self.child.send_signal(signal.SIGINT)
        try:
            self.child.wait(DETACH_S)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.name} did not end within {DETACH_S:g} s") from None
        try:
            return self.out.read_text(encoding="utf-8", errors="replace")
        except OSError:
            raise Unavailable(self.why("it wrote nothing")) from None

    def why(self, otherwise: str) -> str:
        return f"{self.name}: {last_line(self.log) or otherwise}"

    def __exit__(self, *_: object) -> None:
        if self.child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


class Strace(_Tool):
    """Counts system calls by name. It stops the server at each of them, so it slows it much."""

    name = "strace"
    calls: dict[str, int]

    def attach(self, pids: Sequence[int]) -> None:
        each = [word for pid in pids for word in ("-p", str(pid))]
        mine = self.start("-f", "-c", "-o", str(self.out), *each).pid
        self.until(lambda: all(parsing.tracer(text) == mine for text in statuses(pids).values()))

    def detach(self) -> None:
        self.calls = parsing.strace_counts(self.finish())
        if not self.calls:
            raise Unavailable(self.why("it counted no system call"))

    def why(self, otherwise: str) -> str:
        told = super().why(otherwise)
        if "ot permitted" in told:
            told += "; run as root, or: sudo sysctl -w kernel.yama.ptrace_scope=0"
        return told


class Perf(_Tool):
    """Counts events in the kernel, which costs the server little.

    Without the right to see an event, perf counts nothing at all. So each is tried alone first.
    """

    name = "perf"
    counts: dict[str, int | None]

    def __init__(self, folder: Path, calls: Sequence[str]) -> None:
        """calls: the system calls to count."""
        super().__init__(folder)
        self.left_out: list[str] = []
        wanted = [*EVENTS, *map(parsing.tracepoint, calls)]
        refused = {event: reason for event in wanted if (reason := self._why_not(event))}
        self.events = [event for event in wanted if event not in refused]
        if lacking := [event for event in EVENTS if event in refused]:
            self.left_out.append(f"{', '.join(lacking)}: {refused[lacking[0]]}")
        if not self.events:
            raise Unavailable(refused[EVENTS[0]])

    def _why_not(self, event: str) -> str:
        """Why an event cannot be counted here; "" when it can."""
        tried = subprocess.run(
            [self.path, "stat", "-x,", "-e", event, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if tried.returncode:
            return "perf may not: run as root, or: sudo sysctl -w kernel.perf_event_paranoid=1"
        known = parsing.perf_counts(tried.stderr).get(parsing.event_name(event))
        return "this machine, perhaps a virtual one, has no counter for them" * (known is None)

    def attach(self, pids: Sequence[int]) -> None:
        told, tell = os.pipe()
        acknowledged, acknowledge = os.pipe()
        self.pipes = [tell, acknowledged]
        try:
            self.start(
                *("stat", "-x,", "-o", str(self.out), "-e", ",".join(self.events)),
                *("-p", ",".join(map(str, pids)), "-D", "-1", f"--control=fd:{told},{acknowledge}"),
                pass_fds=(told, acknowledge),
            )
        finally:
            os.close(told)
            os.close(acknowledge)
        self._order(b"enable\n")

    def _order(self, words: bytes) -> None:
        """Gives an order, and waits until it is carried out."""
        tell, acknowledged = self.pipes
        os.set_blocking(acknowledged, False)
        heard = b""

        def done() -> bool:
            nonlocal heard
            with suppress(BlockingIOError):
                heard += os.read(acknowledged, 4096)
            return b"ack" in heard

        with suppress(BrokenPipeError):
            os.write(tell, words)
        self.until(done)

    def detach(self) -> None:
        self._order(b"disable\n")
        self.counts = parsing.perf_counts(self.finish())

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for descriptor in getattr(self, "pipes", ()):
            os.close(descriptor)


class FlameGraph(_Tool):
    """Samples where the server's threads are, while they run; an SVG comes of it."""

    name = "py-spy"

    def __init__(self, folder: Path, picture: Path) -> None:
        super().__init__(folder)
        self.out = picture
        self.title = picture.stem

    def attach(self, pids: Sequence[int]) -> None:
        words = ["record", "--pid", str(pids[0]), "--rate", str(RATE), "--output", str(self.out)]
        words += ["--subprocesses"] * (len(pids) > 1)
        try:  # with the frames of compiled code, where py-spy can see them
            self.start(*words, "--native")
            self.until(self._samples)
        except Unavailable:
            self.__exit__()
            self.start(*words)
            self.until(self._samples)

    def _samples(self) -> bool:
        return "Sampling process" in self.log.read_text(errors="replace")

    def detach(self) -> None:
        drawn = paths.hide_home(parsing.titled(self.finish(), self.title))
        try:
            self.out.write_text(drawn, encoding="utf-8")
        except OSError as error:
            raise Unavailable(f"{self.out}: {os_reason(error)}") from None

    def why(self, otherwise: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
        return f"{self.name}: {errors[0] if errors else otherwise}"


def everyone(pids: Sequence[int]) -> list[int]:
    """The processes of a server and all that they have started; the first is the server's own."""
    return [*pids, *(pid for pid in processes.tree(pids) if pid not in pids)]
