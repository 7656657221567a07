"""The client workers of this machine: processes of the shared client, and their events."""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from .. import paths
from ..launch import Child, ChildSetup, NotServing, inner_loops, keeper, last_line
from ..model import Host
from .events import ClientFailed, Core, Event, WorkerResult, decoded
from .worker_plans import WorkerPlan

_LINE_BYTES = 16 * 1024 * 1024


class _Worker:
    """One client process, and the output of it that is not yet a whole line."""

    def __init__(self, plan: WorkerPlan, cpu: int | None, stack: ExitStack) -> None:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(dir=keeper.keeper().folder, ignore_cleanup_errors=True)
        )
        self.log = Path(folder) / "stderr"
        with self.log.open("wb") as errors:
            self.process = Child(
                [sys.executable, str(paths.CLIENT), "--plan", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=ChildSetup(None if cpu is None else [cpu]),
            )
        stack.callback(self.end)
        self.kind = plan.kind
        self.received = b""
        self.tell(msgspec.json.encode(plan))

    def tell(self, line: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ClientFailed(self.why_gone()) from None

    def read(self) -> list[Event]:
        """The events that have come. Raises ClientFailed at the end of the output."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 20)
        if not chunk:
            raise ClientFailed(self.why_gone())
        *lines, self.received = (self.received + chunk).split(b"\n")
        if len(self.received) > _LINE_BYTES:
            raise ClientFailed(f"the client wrote a line of more than {_LINE_BYTES >> 20} MiB")
        return [decoded(line, self.kind) for line in lines]

    def why_gone(self) -> str:
        """Why the worker ended before its result."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the client closed its output before its result"
        how = self.process.killed() or f"exited with {code}"
        last = last_line(self.log)
        return f"the client {how}" + (f": {last}" if last else "")

    def end(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def with_inner_loops(plan: WorkerPlan) -> WorkerPlan:
    """The plan with this machine's inner loops in C, where they can drive such clients.

    Raises ClientFailed where C is asked for and cannot be.
    """
    if plan.library == "asyncio":
        return replace(plan, library="")
    try:
        if plan.authority or plan.mix:
            raise NotServing("TLS and mixes of requests are driven by asyncio's client only")
        return replace(plan, library=inner_loops())
    except NotServing as error:
        if plan.library == "C":
            raise ClientFailed(f"no client in C: {error}") from None
        return replace(plan, library="")


class LocalCrew:
    """The workers of this machine, pinned to the cores of `cpus` in turn; unpinned without any.

    In a with statement, no worker is left running, whatever happens.
    """

    start_spread_s: float | None = None

    def __init__(self, worker_plans: Sequence[WorkerPlan], cpus: Sequence[int]) -> None:
        self.plans: Sequence[WorkerPlan] = [with_inner_loops(plan) for plan in worker_plans]
        self.cores: Sequence[Core] = [
            ("", cpus[index % len(cpus)] if cpus else index) for index in range(len(worker_plans))
        ]
        self.stack = ExitStack()
        self.watching = self.stack.enter_context(selectors.DefaultSelector())
        try:
            self.workers = [
                _Worker(plan, core if cpus else None, self.stack)
                for plan, (_, core) in zip(self.plans, self.cores, strict=True)
            ]
        except BaseException:
            self.stack.close()
            raise
        for number, worker in enumerate(self.workers):
            assert worker.process.stdout is not None
            self.watching.register(worker.process.stdout, selectors.EVENT_READ, number)

    def __enter__(self) -> "LocalCrew":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def said(self, timeout_s: float) -> list[tuple[int, Event]]:
        """(worker's number, event); waits up to timeout_s for the first. Raises ClientFailed."""
        found = []
        for key, _ in self.watching.select(timeout=timeout_s):
            events = self.workers[key.data].read()
            found += [(key.data, event) for event in events]
            if any(isinstance(event, WorkerResult) for event in events):
                self.watching.unregister(key.fileobj)
        return found

    def go(self) -> None:
        """Tells all workers to begin."""
        for worker in self.workers:
            worker.tell(b"go")

    def settle(self) -> None:
        """Does nothing: a call always reaches the workers of this machine without delay."""

    def begin_slice(self, seconds: float) -> None:
        """Tells all workers that the slice begins, and how long it is."""
        for worker in self.workers:
            worker.tell(msgspec.json.encode({"slice_s": seconds}))

    def hosts(self, results: Sequence[WorkerResult]) -> tuple[Host, ...]:
        """Empty: this machine is not one of several."""
        return ()
