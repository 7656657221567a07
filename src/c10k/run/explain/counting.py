"""A server under a closed loop of the suite's own client, once for each instrument."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from ... import launch, machine
from ...errors import UserError
from ...launch import keeper
from ...model import Count, Counted, Explained, Load, Runtime, Server, Workload
from .. import drive, events, merge, worker_plans, workers
from .instruments import (
    ContextSwitches,
    FlameGraph,
    Instrument,
    Perf,
    Strace,
    Unavailable,
    everyone,
)

SECONDS = 2.0  # a slice's length, unless another is asked for
WARMUP_S = 0.2
CEILING_S = 10.0  # a slice need not last twenty round trips: nothing is timed
DRAIN_S = 30.0  # for the last echo, as every message must come back to be counted
LEAST = 0.0005  # calls per message; what is rarer comes from attaching and detaching

Say = Callable[[str], None]


class Setting(Struct, frozen=True):
    """The load of every run, and where the flame graphs go."""

    clients: int
    seconds: float
    folder: Path


def admit(server: Server, clients: int) -> None:
    """Raises UserError when so many clients do not fit in one client process."""
    most = machine.worker_clients()
    if reason := machine.capacity(clients, processes=server.processes).reason:
        raise UserError(f"--clients {clients}: {reason}")
    if most is not None and clients > most:
        raise UserError(f"--clients {clients}: at most {most} fit in one client process")


def explain(
    servers: Sequence[Server], on: Mapping[str, Runtime], setting: Setting, say: Say
) -> tuple[Explained, ...]:
    """What each server does for each message. on: what each server runs on, by name.

    say is called with a line before each run. Raises UserError when a server does not start,
    ends, or does not echo everything.
    """
    runs = {each.name: _Runs(each, on[each.name].executable, setting, say) for each in servers}
    for each in runs.values():
        each.switches()
        each.calls()
    names = sorted({name for each in runs.values() for name in each.frequent()})
    for each in runs.values():
        each.events(names)
        each.flame_graph()
    return tuple(each.explained() for each in runs.values())


class _Runs:
    """The runs of one server, and what they have counted so far."""

    def __init__(self, server: Server, python: str, setting: Setting, say: Say) -> None:
        self.server, self.python, self.setting, self.say = server, python, setting, say
        self.found: dict[str, Count] = {}
        self.messages: dict[str, int] = {}
        self.left_out: list[str] = []
        self.flame = ""

    def switches(self) -> None:
        """Without any instrument: the kernel counts them anyway."""
        with self._unless_unavailable("context switches"), self._scratch():
            tool = ContextSwitches()
            messages = self._load(tool, "context switches")
            assert tool.seen is not None
            for name, count in tool.seen._asdict().items():
                self._note(Count(f"{name} switches", "switch", count / messages, tool.name))

    def calls(self) -> None:
        with self._unless_unavailable("system calls"), self._scratch() as scratch:
            tool = Strace(scratch)
            messages = self._load(tool, "system calls")
            for name, count in tool.calls.items():
                self._note(Count(name, "call", count / messages, tool.name))

    def frequent(self) -> list[str]:
        """The system calls that the messages cause, and not the instrument."""
        return [each.name for each in self.found.values() if _is_frequent(each)]

    def events(self, calls: Sequence[str]) -> None:
        """Instructions and cycles; and the system calls once more, as perf disturbs less."""
        with self._unless_unavailable("instructions, cycles"), self._scratch() as scratch:
            tool = Perf(scratch, calls)
            self.left_out += tool.left_out
            messages = self._load(tool, "instructions, cycles, and system calls again")
            for name, count in tool.counts.items():
                kind: Counted = "call" if name in calls else "event"
                if count is not None:
                    self._note(Count(name, kind, count / messages, tool.name))

    def flame_graph(self) -> None:
        with self._unless_unavailable("flame graph"), self._scratch() as scratch:
            picture = self.setting.folder / f"{self.server.name}.svg"
            self._load(FlameGraph(scratch, picture), "flame graph")
            self.flame = picture.name

    def explained(self) -> Explained:
        counts = [each for each in self.found.values() if each.kind != "call" or _is_frequent(each)]
        return Explained(
            self.server.name, tuple(counts), self.messages, tuple(self.left_out), self.flame
        )

    def _note(self, count: Count) -> None:
        self.found[count.name] = count

    @contextmanager
    def _unless_unavailable(self, what: str) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            self.left_out.append(f"{what}: {error}")

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=keeper.keeper().folder) as folder:
            yield Path(folder)

    def _load(self, tool: Instrument, what: str) -> int:
        """Runs the server under the load with an instrument; how many messages that counted."""
        self.say(f"{self.server.name}: {what} ({tool.name})")
        try:
            with self._scratch() as scratch:
                messages = _messages(self.server, self.python, self.setting, tool, scratch)
        except launch.NotServing as error:
            raise UserError(f"{self.server.name}: {error}") from None
        except events.ClientFailed as error:
            if not tool.slows:
                raise UserError(f"{self.server.name}: {error}") from None
            raise Unavailable(
                f"with {tool.name} the server does not keep up: {error}; give fewer --clients"
            ) from None
        self.messages[tool.name] = messages
        return messages


def _is_frequent(count: Count) -> bool:
    return count.kind == "call" and (count.per_message or 0.0) >= LEAST


class _Watched:
    """A server to which an instrument is attached from the barrier to the last echo."""

    def __init__(self, running: launch.Running, tool: Instrument) -> None:
        self.running, self.tool = running, tool

    def look(self) -> None:
        if reason := self.running.why_gone():
            raise events.ClientFailed(reason)

    def look_at_queue(self) -> None:
        """Nobody waits to be accepted."""

    def connected(self, seen: merge.Connected) -> None:
        self.look()
        if seen.served:
            self.tool.attach(everyone(self.running.pids))

    def begin(self) -> None:
        """The instrument has been attached at the barrier."""

    def end(self) -> None:
        """It stays until the last echo has come, so that whole messages are counted."""

    def loaded(self) -> None:
        self.look()
        self.tool.detach()


def _messages(
    server: Server, python: str, setting: Setting, tool: Instrument, scratch: Path
) -> int:
    """The messages between attaching and detaching, as the client counts them.

    Raises ClientFailed when there were none, or not all came back; NotServing when the server
    does not start, UserError when it ends; Unavailable.
    """
    pinning = machine.cores(server.processes)
    workload = _workload(server, setting)
    (load,) = workload.loads
    with ExitStack() as stack:
        log = scratch / "server.log"
        running = launch.start(server, log, cpus=pinning.server, python=python)
        stack.callback(running.stop)
        plans = worker_plans.plans(running.address, workload, load, [load.clients], 0)
        crew = stack.enter_context(workers.LocalCrew(plans, (pinning.clients or ())[:1]))
        stack.enter_context(tool)
        try:
            driven = drive.drive(crew, load, _Watched(running, tool))
            if wrong := _wrong(driven):
                raise events.ClientFailed(wrong)
        except events.ClientFailed:
            if reason := running.why_gone(launch.REAP_S):
                raise UserError(f"{server.name}: {reason}") from None
            raise
    return counted(driven)


def counted(driven: merge.Driven) -> int:
    """All echoes of a closed loop of one worker without a fault: warm-up, slice and drain."""
    until_the_slices_end = driven.bins[-1][1]
    in_the_drain = driven.latency.count - driven.messages
    return until_the_slices_end + in_the_drain


def _wrong(driven: merge.Driven) -> str:
    """Why the messages cannot be counted, in words; "" when they can."""
    wrong = [f"{count} × {error}" for error, count in driven.errors.items()]
    wrong += [f"{count} echoes {fault}" for fault, count in driven.faults.items()]
    wrong += [f"{driven.lost} echoes lost"] * bool(driven.lost)
    return "; ".join(wrong) or ("" if driven.messages else "no message came back")


def _workload(server: Server, setting: Setting) -> Workload:
    """A closed loop of 64 bytes, as the workloads have it."""
    load = Load("closed", setting.clients, 64, 1, WARMUP_S, setting.seconds, ceiling_s=CEILING_S)
    return Workload(
        name="explain",
        title="explain",
        servers=(server.name,),
        blocks=1,
        loads=(load,),
        reference="",
        control=False,
        repeats=0,
        connecting=128,
        connect_timeout_s=30.0,
        drain_s=DRAIN_S,
    )
