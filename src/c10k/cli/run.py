"""c10k run: a session from its words to its table."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter, validators
from rich.console import Console

from .. import launch, paths
from ..declare import catalog, choosing, workload
from ..errors import UserError
from ..judge import judge
from ..launch import interpreter
from ..model import Server, Workload
from ..render import progress
from ..run import begin, cluster, executor, store
from . import words
from .app import DONE, EARLY, Json, Many, app
from .console import print_line
from .interrupt import Interruptible
from .results import print_session

_SEEDS = validators.Number(gte=-(10**15), lte=10**15)  # as model.BoundedInt


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a session.

    Parameters
    ----------
    servers
        Servers to run instead of the workload's: names, @tiers, paths of server files, or
        NAME=COMMAND for any program that serves the listening socket on its standard input.
        NAME@DISTRIBUTION==VERSION and NAME@python3.13 run a server in its own environment.
    clients
        Client counts to use instead of the workload's: 100 10k, or 100,10k.
    blocks
        Number of blocks: how many times each server runs each load.
    processes
        Number of processes of each server, which share the clients.
    sharing
        How several processes share clients: all accept from one socket (one-socket), or each has
        its own (reuseport). Give both to compare them.
    server_cores
        Number of cores that each server may use, or all [default: one for each process]. When
        no core is left for the clients, they share the last one, and the table says so.
    seed
        Random seed for the order within each block; recorded, so the plan can be reproduced.
    out
        Folder for the session [default: results/DATE-TIME-WORKLOAD].
    resume
        Continue the session in this folder, which ended early, with its stored plan.
    force
        With --resume: continue even if the machine or a server's code has changed; the session
        is then marked as mixed.
    unchecked
        Skip the check that each server echoes correctly before it is timed.
    memory
        Share of the free memory that a trial may use before it is stopped.
    precision
        Add blocks until the interval of every ratio is within this share of the ratio: 3%.
    max_blocks
        With --precision: stop after this many blocks [default: 50].
    time
        With --precision: stop before a block that would exceed this total time: 20m, 90s, 1h.
    isolated
        Run each Python server in its own environment, with the versions that its file requires.
    python
        Interpreter to run the servers on, each in its own environment: a version (3.13, 3.14t), a
        path, default (the one that runs c10k) or optimised. Give several to run every server on
        each of them, as NAME@INTERPRETER.
    scheduler
        Run on the hosts of this Dask scheduler (tcp://HOST:PORT) instead of on this machine; see
        c10k cluster.
    as_json
        Print the rows as JSON instead of the table.
    """

    servers: Annotated[list[str] | None, Many] = None
    clients: Annotated[list[str] | None, Many] = None
    blocks: int | None = None
    processes: int | None = None
    sharing: Annotated[list[Literal["one-socket", "reuseport"]] | None, Many] = None
    server_cores: str | None = None
    seed: Annotated[int | None, Parameter(validator=_SEEDS)] = None
    out: Path | None = None
    resume: Path | None = None
    force: bool = False
    unchecked: bool = False
    memory: str = "50%"
    precision: str | None = None
    max_blocks: int | None = None
    time: str | None = None
    isolated: bool = False
    python: Annotated[list[str] | None, Many] = None
    scheduler: str | None = None
    as_json: Annotated[bool, Json] = False


WITH_RESUME = {"resume", "force", "memory", "scheduler", "as_json"}


@app.command
def run(
    name: Annotated[str | None, Parameter(name="workload")] = None,
    /,
    options: Annotated[Options, Parameter(name="*")] = Options(),
) -> int:
    """Run a session: every server under every load, block by block; print the table.

    Example: c10k run quick --servers threads_sockets asyncio_streams --clients 100 10k
    Example: c10k run --servers trio_streams@trio==0.24 trio_streams ./mine.py 'go=./echo'

    Parameters
    ----------
    name
        Name of a workload (see c10k list) or path of a .toml file [default: quick].
    """
    console = Console(stderr=options.as_json)
    if options.resume is None:
        begun = start(name or "quick", options, console)
    else:
        begun = _resumed(name, options, options.resume, console)
    code = driven(begun, console)
    try:
        print_session(judge(store.load(begun.folder)), "json" if options.as_json else "terminal")
    except store.StoreError as error:  # what could not be written may not be read either
        code = EARLY
        print_line(console, f"! {error}")
    print_line(console, f"Session: {begun.folder}")
    if code == EARLY:
        print_line(console, f"Continue: c10k run --resume {begun.folder}")
    return code


def start(name: str, options: Options, console: Console, race: bool = False) -> begin.Begun:
    """A new session. race: between two servers; the first is the reference and the control."""
    launch.raise_descriptor_limit()
    if options.force:
        raise UserError("--force needs --resume")
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
        python=words.split(options.python),
        server_cores=words.server_cores(options.server_cores),
    )


def _contenders(chosen: Workload, options: Options) -> tuple[Server, ...]:
    found = choosing.choose(chosen.servers, catalog.known().servers)
    if options.isolated:
        found = choosing.isolated(found)
    for word in words.split(options.python):
        if not choosing.is_interpreter(word):
            raise UserError(f"--python {word}: {choosing.INTERPRETERS}")
        if interpreter.find(word) is None:
            raise UserError(f"--python {word}: {interpreter.missing(word)}")
    if options.scheduler and (chosen.python or any(server.isolated for server in found)):
        raise UserError(
            "--isolated, --python, and servers with an @version or @interpreter cannot be used "
            "with --scheduler: environments are only created on this machine"
        )
    return found


def _resumed(name: str | None, options: Options, folder: Path, console: Console) -> begin.Begun:
    """A session that ended early. Raises UserError where an option would change its plan."""
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
            "--resume continues the stored plan and cannot be combined with "
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
    """The hosts of a scheduler; None: this machine."""
    return None if scheduler is None else cluster.connect(scheduler)


def driven(begun: begin.Begun, console: Console) -> int:
    """Runs a session and shows its progress; DONE, or EARLY where it can be resumed."""
    planned = begun.plan
    for reason in begun.unfit:
        print_line(console, f"! {reason}; smaller counts are run")
    print_line(
        console,
        f"{planned.workload.title}: {len(begun.left)} trials, about "
        f"{progress.duration(begun.expected_s)}, {begun.note}, seed {planned.seed}",
    )
    if begun.machines.exposed:
        print_line(
            console, "! anyone who can reach the hosts' addresses can use the servers, unencrypted"
        )
    lines = progress.Lines(console, len(begun.left), planned.workload.blocks, begun.expected_s)
    try:
        with begun, Interruptible(), lines:
            begun.run(before=lines.before, after=lines.after)
    except (KeyboardInterrupt, store.StoreError, executor.Lost) as error:
        print_line(console, f"! {str(error) or 'interrupted'}; what was measured is kept")
        return EARLY
    return DONE
