"""Begins a session or resumes one that ended early, and runs it.

    with begin(workload, folder) as begun:
        begun.run()

The command and the programs in benchmarks/ start their sessions here, so all sessions are
planned, checked, refused and stored in the same way.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
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
from ..text import timestamp
from . import capacity, executor, prepare, session, store
from .executor import MEMORY_SHARE, Machines
from .local import LocalMachine


def _silent(line: str) -> None:
    """Prints nothing: the default of say."""


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

    servers: instead of those that the workload names. seed: determines the order within each
    block; None draws one. goal: adds blocks until it is reached. machines: where the session
    runs; None means this machine. memory_share: the share of the free memory that a trial may
    use. checked: False skips the conformance check. say is called with each line of progress.
    """
    machines = machines or LocalMachine()
    if goal and workload.search:
        raise UserError(
            "--precision cannot be used with a search: it ends when it has found its limit"
        )
    machines.admit(workload)
    chosen = servers or choosing.choose(workload.servers, catalog.known().servers)
    if workload.python:
        chosen = choosing.on_each(chosen, prepare.interpreters(workload.python, say))
    copies = plan.copies(chosen, workload.processes, workload.sharing)
    planned = plan.make(workload, copies, _drawn() if seed is None else seed)
    runtimes, cannot = prepare.runtimes(planned.servers, say)
    if set(cannot) == {server.name for server in planned.servers}:
        whys = dict.fromkeys(f"{server.name}: {cannot[server.name]}" for server in chosen)
        raise UserError(f"no server can run here: {'; '.join(whys)}")
    unfit = list(map(machines.fit_rule(planned, memory_share), planned.trials))
    if all(unfit):
        raise UserError(f"no trial can run here: {'; '.join(dict.fromkeys(unfit))}")
    head = Session(
        schema=store.SCHEMA,
        c10k=metadata.version("c10k-bench"),
        started_at=timestamp(),
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
    """Continues a session that ended early, as it was planned. Raises UserError.

    force: also when the machine or a server's code has changed; the session records that.
    """
    machines = machines or LocalMachine()
    begun = store.unfinished(folder)
    machines.admit(begun.plan.workload)
    for line in choosing.untrusted_commands(begun.plan.servers):
        say(f"! the session contains a command, which is run: {line}")
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
            "--force continues and marks the session as mixed"
        )
    head, writer = store.resume(folder, changed)
    return Begun(folder, head, writer, machines, runtimes, cannot, memory_share, say)


class Begun:
    """A session whose folder is open. A with block releases its folder and its machines."""

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
        """cannot: the servers that cannot run here, by name, and why."""
        self.folder = folder
        self.head = head
        self.plan = head.plan
        self.writer = writer
        self.machines = machines
        self.say = say
        why_unfit = machines.fit_rule(head.plan, memory_share)
        self.unfit = tuple(dict.fromkeys(filter(None, map(why_unfit, head.plan.trials))))
        rules = executor.Rules(
            runtimes, executor.refusals(cannot, why_unfit, head.conformance), memory_share
        )
        self.execute = machines.executor(head.plan, writer.logs, rules)
        finished = {measurement.trial.key for measurement in head.measurements}
        self.left = [trial for trial in head.plan.trials if trial.key not in finished]
        self.expected_s = self._expected_s(cannot, why_unfit)

    def __enter__(self) -> "Begun":
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()
        self.machines.close()

    @property
    def note(self) -> str:
        """Where server and clients run, in a few words."""
        return self.execute.note

    def run(
        self,
        before: Callable[[Trial], None] = lambda trial: None,
        after: Callable[[Measurement], None] = lambda measurement: None,
    ) -> None:
        """Runs what is left, adds trials until the goal is reached, and finishes the session.

        before is called with a trial that is about to run, after with the measurement of an
        attempt. An exception (an interrupt, StoreError, Lost) leaves a session that can be
        resumed.
        """
        self.began_s = time.monotonic()
        session.run(
            self.plan,
            capacity.Searching(self.execute, self.head.measurements, self.plan.seed),
            self.writer,
            done=self.head.measurements,
            more=self._more,
            before=before,
            after=after,
        )
        self.writer.finish(timestamp())

    def _more(self, measured: Sequence[Measurement]) -> Sequence[Trial]:
        """The next trials of a search, or the next block until the goal is reached."""
        goal = self.head.goal
        if self.plan.workload.search:
            return search.following(self.plan, measured)
        if goal is None:
            return ()
        blocks = 1 + max(each.trial.block for each in measured)
        following = plan.block(self.plan, blocks)
        judged = judge(replace(self.head, measurements=tuple(measured)))
        elapsed_s = time.monotonic() - self.began_s
        block_s = plan.expected_s(following, self.plan.servers)
        if reason := precision.why_enough(judged, goal, blocks, elapsed_s, block_s):
            self.say(reason)
            return ()
        return following

    def _expected_s(self, cannot: Collection[str], why_unfit: executor.WhyUnfit) -> float:
        """About how long the trials that are left take, in s."""
        runnable = [each for each in self.left if each.server not in cannot and not why_unfit(each)]
        expected_s = plan.expected_s(runnable, self.plan.servers)
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
    """What has changed since the session began, one line each.

    environment: the differences of the machine. code, runtimes: those of the servers now.
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


def stamp() -> str:
    """The local time, as part of a folder's name."""
    return time.strftime("%Y%m%d-%H%M%S")
