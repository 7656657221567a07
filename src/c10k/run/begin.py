"""Begins a session, or goes on with one that ended early; then runs it.

    with begin(workload, folder) as begun:
        begun.run()

The command and the programs of benchmarks/ start their sessions here, so that all of them
are planned, checked, refused and stored alike.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from msgspec.structs import replace

from .. import plan
from ..declare import catalog, choosing
from ..errors import UserError
from ..judge import judge
from ..machine import differences
from ..model import Goal, Measurement, Runtime, Server, Session, Trial, Workload
from ..plan import precision, search
from . import executor, prepare, session, store
from .executor import MEMORY_SHARE, Machines
from .local import LocalMachine


def _silent(line: str) -> None:
    """Says nothing."""


def begin(
    workload: Workload,
    folder: Path,
    *,
    servers: Sequence[Server] = (),
    seed: int | None = None,
    goal: Goal | None = None,
    machines: Machines | None = None,
    memory_share: float = MEMORY_SHARE,
    checked: bool = True,
    say: Callable[[str], None] = _silent,
) -> "Begun":
    """Plans a session, checks its servers and makes its folder. Raises UserError.

    servers: instead of those that the workload names. seed: draws the order of each block;
    drawn where it is None. goal: adds blocks until it is met. machines: where it runs, this
    machine where None. memory_share: of the free memory, what a trial may take. checked: false
    leaves the conformance check out. say is given what there is to say on the way, a line each.
    """
    machines = machines or LocalMachine()
    if goal and workload.search:
        raise UserError(
            "--precision cannot be used with a search: it ends when it has found its limit"
        )
    chosen = servers or choosing.choose(workload.servers, catalog.known().servers)
    copies = plan.copies(chosen, workload.processes, workload.sharing)
    planned = plan.make(workload, copies, _drawn() if seed is None else seed)
    runtimes, cannot = prepare.runtimes(planned.servers, say)
    head = Session(
        schema=store.SCHEMA,
        c10k=metadata.version("c10k-bench"),
        started_at=now(),
        plan=planned,
        environment=machines.environment(),
        conformance=prepare.conformance(planned.servers, runtimes, say) if checked else {},
        goal=goal,
        code={server.name: catalog.code(server) for server in planned.servers},
        runtimes={key: replace(on, executable="") for key, on in runtimes.items()},
    )
    writer = store.create(folder, head)
    return Begun(folder, head, writer, machines, runtimes, cannot, memory_share, say)


def resume(
    folder: Path,
    *,
    force: bool = False,
    machines: Machines | None = None,
    memory_share: float = MEMORY_SHARE,
    say: Callable[[str], None] = _silent,
) -> "Begun":
    """Goes on with a session that ended early, as it was planned. Raises UserError.

    force: also where the machine or a server's code has changed; the session says so.
    """
    machines = machines or LocalMachine()
    begun = store.unfinished(folder)
    for line in choosing.untrusted_commands(begun.plan.servers):
        say(f"! as the session says, this is run: {line}")
    runtimes, cannot = prepare.runtimes(begun.plan.servers, say)
    changed = changes(
        begun,
        differences(begun.environment, machines.environment()),
        {server.name: catalog.code(server) for server in begun.plan.servers},
        runtimes,
    )
    if changed and not force:
        raise UserError(
            f"{folder}: changed since it began: {'; '.join(changed)}. "
            "--force goes on and marks the session as mixed"
        )
    head, writer = store.resume(folder, changed)
    return Begun(folder, head, writer, machines, runtimes, cannot, memory_share, say)


class Begun:
    """A session whose folder is open. As a with block: folder and machines are let go of."""

    def __init__(
        self,
        folder: Path,
        head: Session,
        writer: store.Writer,
        machines: Machines,
        runtimes: Mapping[str, Runtime],
        cannot: Mapping[str, str],
        memory_share: float,
        say: Callable[[str], None],
    ) -> None:
        """cannot: servers that cannot run here, and why."""
        self.folder = folder
        self.head = head
        self.plan = head.plan
        self.writer = writer
        self.machines = machines
        self.say = say
        room = machines.room(head.plan, memory_share)
        self.unfit = tuple(dict.fromkeys(filter(None, map(room, head.plan.trials))))
        rules = executor.Rules(
            runtimes, executor.refusals(cannot, room, head.conformance), memory_share
        )
        self.execute = machines.executor(head.plan, writer.logs, rules)
        finished = {measurement.trial.key for measurement in head.measurements}
        self.left = [trial for trial in head.plan.trials if trial.key not in finished]
        self.expected_s = self._expected_s(cannot, room)

    def __enter__(self) -> "Begun":
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()
        self.machines.close()

    @property
    def note(self) -> str:
        """Where server and clients are, in a few words."""
        return self.execute.note

    def run(
        self,
        before: Callable[[Trial], None] = lambda trial: None,
        after: Callable[[Measurement], None] = lambda measurement: None,
    ) -> None:
        """Runs what is left, and more until the goal is met; then the session is finished.

        before is given a trial that is about to run; after, what came of each attempt. What is
        raised (an interrupt, StoreError, Lost) leaves a session that can be resumed.
        """
        self.began_s = time.monotonic()
        session.run(
            self.plan,
            self.execute,
            self.writer,
            done=self.head.measurements,
            more=self._more,
            before=before,
            after=after,
        )
        self.writer.finish(now())

    def _more(self, measured: Sequence[Measurement]) -> Sequence[Trial]:
        """Further trials of a search, or further blocks until the goal is met."""
        goal = self.head.goal
        if self.plan.workload.search:
            return search.following(self.plan, measured)
        if goal is None:
            return ()
        blocks = 1 + max(each.trial.block for each in measured)
        following = plan.block(self.plan, blocks)
        judged = judge(replace(self.head, measurements=tuple(measured)))
        elapsed_s = time.monotonic() - self.began_s
        if reason := precision.enough(judged, goal, blocks, elapsed_s, plan.expected_s(following)):
            self.say(reason)
            return ()
        return following

    def _expected_s(self, cannot: Collection[str], room: Callable[[Trial], str]) -> float:
        """About how long what is left takes, in s."""
        runnable = [each for each in self.left if each.server not in cannot and not room(each)]
        expected_s = plan.expected_s(runnable)
        wanted = self.plan.workload.search
        return expected_s * search.rounds(wanted) if wanted else expected_s


def _drawn() -> int:
    return random.SystemRandom().randrange(2**32)


def changes(
    session: Session,
    environment: Sequence[str],
    code: Mapping[str, str],
    runtimes: Mapping[str, Runtime],
) -> list[str]:
    """What is no longer as it was when the session began, one line each.

    environment: the differences of the machine; code and runtimes: of the servers, now.
    """
    found = list(environment)
    for server in session.plan.servers:
        name = server.name
        if session.code.get(name, code[name]) != code[name]:
            found.append(f"{server.path}: its code")
        was, is_now = session.runtimes.get(name), runtimes.get(name)
        if was is None or is_now is None:
            continue
        if was.python != is_now.python:
            found.append(f"{name}: Python {was.python} → {is_now.python}")
        for key in sorted(was.versions.keys() | is_now.versions.keys()):
            old, new = was.versions.get(key, "none"), is_now.versions.get(key, "none")
            if old != new:
                found.append(f"{name}: {key} {old} → {new}")
    return list(dict.fromkeys(found))


def now() -> str:
    """The time for a session's head: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stamp() -> str:
    """The time for a folder's name."""
    return time.strftime("%Y%m%d-%H%M%S")
