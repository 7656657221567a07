"""c10k run: a session from its words to its table."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter, validators
from rich.console import Console

from .. import judge, launch, paths
from ..declare import catalog, choosing, workload
from ..errors import UserError
from ..model import Server, Workload
from ..render import progress
from ..run import begin, cluster, executor, store
from . import words
from .app import DONE, EARLY, Flag, Json, Many, app
from .console import print_line
from .interrupt import Interruptible
from .results import print_session

_SEEDS = validators.Number(gte=-(10**15), lte=10**15)  # as model.BoundedInt


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a session is run with.

    Parameters
    ----------
    servers
        Names, @tiers, paths of server files, or NAME=COMMAND for any program that adopts
        standard input, instead of the workload's. NAME@DISTRIBUTION==VERSION and
        NAME@python3.13 run one in an environment of its own.
    clients
        Client counts, instead of the workload's: 100 10k, or 100,10k.
    blocks
        Number of blocks: how many times each server runs each load.
    processes
        Copies of each server that serve together.
    sharing
        With several: all on one-socket, or each on its own (reuseport); both are compared.
    seed
        Random seed for the order within each block; recorded, so the plan can be reproduced.
    out
        The session's folder [default: results/DATE-TIME-WORKLOAD].
    resume
        Continue a session that ended early, as it was planned.
    force
        Resume although the machine or a server's code has changed; the session says so.
    unchecked
        Do not check that the servers echo correctly before they are timed.
    memory
        Share of the free memory that a trial may use before it is stopped.
    precision
        Add blocks until the interval of every ratio is that narrow: 3%.
    max_blocks
        With --precision: stop after this many blocks [default: 50].
    time
        With --precision: stop when the next block would take longer than this: 20m, 90s, 1h.
    isolated
        Each Python server in an environment of its own, with what its file asks for.
    python
        The interpreter of these environments (a path, 3.13, python3.14t); implies --isolated.
    scheduler
        Run on the hosts of this Dask scheduler, tcp://HOST:PORT, instead of here (c10k cluster).
    as_json
        Print the rows as JSON instead of the table.
    """

    servers: Annotated[list[str] | None, Many] = None
    clients: Annotated[list[str] | None, Many] = None
    blocks: int | None = None
    processes: int | None = None
    sharing: Annotated[list[Literal["one-socket", "reuseport"]] | None, Many] = None
    seed: Annotated[int | None, Parameter(validator=_SEEDS)] = None
    out: Path | None = None
    resume: Path | None = None
    force: Annotated[bool, Flag] = False
    unchecked: Annotated[bool, Flag] = False
    memory: str = "50%"
    precision: str | None = None
    max_blocks: int | None = None
    time: str | None = None
    isolated: Annotated[bool, Flag] = False
    python: str = ""
    scheduler: str | None = None
    as_json: Annotated[bool, Json] = False


WITH_RESUME = {"resume", "force", "memory", "scheduler", "as_json"}


@app.command
def run(
    name: Annotated[str | None, Parameter(name="workload")] = None,
    /,
    options: Annotated[Options, Parameter(name="*")] = Options(),
) -> int:
    """Run a session: every server under every load, block by block, then the table.

    Example: c10k run quick --servers threads_sockets asyncio_streams --clients 100 10k
    Example: c10k run --servers trio_streams@trio==0.24 trio_streams ./mine.py 'go=./echo'

    Parameters
    ----------
    name
        A workload's name (c10k list) or the path of its .toml file [default: quick].
    """
    console = Console(stderr=options.as_json)
    if options.resume is None:
        begun = start(name or "quick", options, console)
    else:
        begun = _resumed(name, options, options.resume, console)
    code = driven(begun, console)
    try:
        print_session(
            judge.judge(store.load(begun.folder)), "json" if options.as_json else "terminal"
        )
    except store.StoreError as error:  # what could not be written may not be read either
        code = EARLY
        print_line(console, f"! {error}")
    print_line(console, f"Session: {begun.folder}")
    if code == EARLY:
        print_line(console, f"Continue: c10k run --resume {begun.folder}")
    return code


def start(name: str, options: Options, console: Console, race: bool = False) -> begin.Begun:
    """A new session. race: between two; the first is the reference, and its twin the control."""
    launch.raise_descriptor_limit()
    if options.force:
        raise UserError("--force only goes with --resume")
    chosen = _workload(name, options)
    if race:
        chosen = msgspec.structs.replace(chosen, reference="", control=not chosen.search)
    goal = words.goal(options.precision, options.max_blocks, options.time)
    memory_share = words.share("--memory", options.memory)
    contenders = _contenders(chosen, options)
    return begin.begin(
        chosen,
        options.out or Path("results") / f"{begin.stamp()}-{chosen.name}",
        servers=contenders,
        seed=options.seed,
        goal=goal,
        machines=_machines(options.scheduler),
        memory_share=memory_share,
        checked=not options.unchecked,
        say=lambda line: print_line(console, line),
    )


def _workload(name: str, options: Options) -> Workload:
    return workload.override(
        workload.choose(name, paths.WORKLOADS),
        servers=choosing.words(options.servers or ()),
        clients=words.counts(options.clients),
        blocks=options.blocks,
        processes=options.processes,
        sharing=options.sharing or (),
    )


def _contenders(chosen: Workload, options: Options) -> tuple[Server, ...]:
    found = choosing.choose(chosen.servers, catalog.known().servers)
    if options.isolated or options.python:
        found = choosing.isolated(found, options.python)
    if options.scheduler and any(server.isolated for server in found):
        raise UserError(
            "--isolated, --python and NAME@VERSION cannot be used with --scheduler: "
            "environments are only made on this machine"
        )
    return found


def _resumed(name: str | None, options: Options, folder: Path, console: Console) -> begin.Begun:
    """A session that ended early. Raises UserError where a changed plan is asked for."""
    launch.raise_descriptor_limit()
    default = Options()
    changed = [
        f"--{each.name.replace('_', '-')}"
        for each in fields(options)
        if each.name not in WITH_RESUME
        and getattr(options, each.name) != getattr(default, each.name)
    ]
    if name is not None or changed:
        raise UserError(
            "--resume continues the plan of the session and cannot be combined with "
            f"{', '.join(changed) or 'a workload'}"
        )
    return begin.resume(
        folder,
        force=options.force,
        machines=_machines(options.scheduler),
        memory_share=words.share("--memory", options.memory),
        say=lambda line: print_line(console, line),
    )


def _machines(scheduler: str | None) -> executor.Machines | None:
    """The hosts of a scheduler; None for this machine."""
    return None if scheduler is None else cluster.connect(scheduler)


def driven(begun: begin.Begun, console: Console) -> int:
    """Runs a session and shows how far it is; DONE, or EARLY where it can be resumed."""
    planned = begun.plan
    for reason in begun.unfit:
        print_line(console, f"! {reason}; smaller counts run")
    print_line(
        console,
        f"{planned.workload.title}: {len(begun.left)} trials, about "
        f"{progress.duration(begun.expected_s)}, {begun.note}, seed {planned.seed}",
    )
    if begun.machines.exposed:
        print_line(console, "! servers serve whoever can reach their hosts' addresses, unencrypted")
    lines = progress.Lines(console, len(begun.left), planned.workload.blocks, begun.expected_s)
    try:
        with begun, Interruptible(), lines:
            begun.run(before=lines.before, after=lines.after)
    except (KeyboardInterrupt, store.StoreError, executor.Lost) as error:
        print_line(console, f"! {str(error) or 'interrupted'}; what was measured is kept")
        return EARLY
    return DONE
