"""c10k compare, race: how two sides differ."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from .. import machine, paths
from ..declare import catalog, choosing, workload
from ..errors import UserError
from ..judge import compare, comparison, evidence
from ..model import Compared, Comparison, Session
from ..render import comparisons, export, markdown, records, terminal
from ..run import store
from . import run, words
from .app import DONE, FAILED, WRONG, Json, Many, app
from .console import complain, print_json, print_line

Form = Annotated[
    Literal["terminal", "markdown", "csv", "json"], Parameter(name="--format", show_choices=True)
]


FailOn = Annotated[list[str] | None, Parameter(consume_multiple=True, help=words.fail_on_help())]


@app.command(
    name="compare",
    usage="Usage: c10k compare A B\n"
    "       c10k compare A1 A2 A3 -- B1 B2 B3\n"
    "       c10k compare SESSION SERVER SERVER",
)
def compare_(
    a: Path,
    /,
    *others: str,
    against: Annotated[list[Path] | None, Many] = None,
    between: Path | None = None,
    servers: Annotated[list[str] | None, Many] = None,
    fail_on: FailOn = None,
    form: Form = "terminal",
    as_json: Annotated[bool, Json] = False,
) -> int:
    """Compare sessions, or two servers of one session, row by row.

    Example: c10k compare A1 A2 A3 -- B1 B2 B3 --fail-on 5%
    Example: c10k compare results/reference-c10k threads_sockets asyncio_streams

    Sessions differ even where nothing has changed. They can only be judged with three or more
    per side, or with --between. To compare two versions, c10k race runs both in one session.

    Parameters
    ----------
    a
        Folder of a session.
    others
        Folder of the other session; or two servers of session A; or, with --against or --, more
        sessions of A's side.
    against
        Sessions of the other side; a bare -- before them means the same.
    between
        Folder of three or more sessions of the same code on this machine. They show how far
        equal sessions differ, so one session per side can be judged.
    servers
        Compare only these servers: names or @tiers.
    form
        Output format.
    as_json
        The same as --format json.
    """
    form = "json" if as_json else form
    thresholds = words.thresholds(fail_on)
    wanted = [name for name in thresholds if name]
    if against is None and len(others) == 2 and not Path(others[0], "session.json").is_file():
        if between or servers:
            raise UserError(
                "--between and --servers need two sessions; these are two servers of one session"
            )
        return _compared(compare.servers(store.load(a), *others, wanted), [], form, thresholds)
    if (against is None and len(others) != 1) or against == []:
        raise UserError(
            "say which sessions are the other side: c10k compare A B, or A1 A2 A3 -- B1 B2 B3"
        )
    mine = [a, *map(Path, others if against is not None else ())]
    theirs = against if against is not None else [Path(others[0])]
    return _sessions(mine, theirs, between, servers, form, thresholds)


def _sessions(
    mine: Sequence[Path],
    theirs: Sequence[Path],
    between: Path | None,
    servers: Sequence[str] | None,
    form: str,
    thresholds: Mapping[str, float],
) -> int:
    """Compares the sessions of two sides."""
    wanted = [name for name in thresholds if name]
    loaded = [[store.load(folder) for folder in side] for side in (mine, theirs)]
    series = _series(between) if between else []
    if series and min(map(len, loaded)) >= evidence.ENOUGH:
        raise UserError(
            "--between is not needed: three sessions per side show how far equal sessions differ"
        )
    known = {each.name: each for one in chain(*loaded) for each in one.plan.servers}
    kept = words.servers_of(servers, list(known.values()))
    found = compare.sessions(
        loaded[0], loaded[1], _called(mine, theirs), wanted, between=series, servers=kept
    )
    first, *rest = chain(*loaded)
    different = [machine.differences(first.environment, each.environment) for each in rest]
    told = list(dict.fromkeys(line for lines in different for line in lines))
    return _compared(found, told, form, thresholds)


@dataclass(frozen=True, kw_only=True)
class RaceOptions:
    """What two servers are raced with.

    Parameters
    ----------
    blocks
        Number of blocks: how many times each server runs each load [default: enough to show a
        difference].
    clients
        Client counts to use instead of the workload's: 100 10k, or 100,10k.
    server_cores
        Number of cores that each server may use, or all [default: one for each process].
    out
        Folder for the session [default: results/DATE-TIME-WORKLOAD].
    isolated
        Run each server in its own environment, with the versions that its file requires.
    python
        Interpreter to run both servers on: a version (3.13, 3.14t), a path, default or optimised.
    unchecked
        Skip the check that each server echoes correctly before it is timed.
    form
        Output format.
    as_json
        The same as --format json.
    """

    blocks: int | None = None
    clients: Annotated[list[str] | None, Many] = None
    server_cores: str | None = None
    fail_on: FailOn = None
    out: Path | None = None
    isolated: bool = False
    python: str = ""
    unchecked: bool = False
    form: Form = "terminal"
    as_json: Annotated[bool, Json] = False


@app.command(name="race")
def race_(
    a: str,
    b: str,
    name: Annotated[str, Parameter(name="workload")] = "race",
    /,
    options: Annotated[RaceOptions, Parameter(name="*")] = RaceOptions(),
) -> int:
    """Race two servers, or two versions of one, in one session: is the second slower?

    Example: c10k race trio_streams@trio==0.34 trio_streams@trio==0.35 --fail-on messages_per_s:5%
    Example: c10k race ./before.py ./after.py throughput --clients 100 1k

    The two take turns under every load, so disturbances of the machine affect both. The first is
    also run against itself: a difference no larger than that is not claimed.

    Parameters
    ----------
    a
        The server before the change: a name, NAME@DISTRIBUTION==VERSION, a path or NAME=COMMAND.
    b
        The server after the change.
    name
        Name of a workload (see c10k list) or path of a .toml file.
    """
    form = "json" if options.as_json else options.form
    thresholds = words.thresholds(options.fail_on)
    names = [server.name for server in choosing.choose([a, b], catalog.known().servers)]
    if len(names) != 2:
        raise UserError(
            f"race takes two servers with different names, not {len(names)}: {', '.join(names)}"
        )
    blocks = options.blocks
    asked = run.Options(
        servers=[a, b],
        clients=options.clients,
        blocks=_blocks(name, options.clients, thresholds) if blocks is None else blocks,
        server_cores=options.server_cores,
        out=options.out,
        unchecked=options.unchecked,
        isolated=options.isolated,
        python=[options.python] if options.python else None,
    )
    console = Console(stderr=form != "terminal")
    begun = run.start(name, asked, console, race=True)
    code = run.driven(begun, console)
    print_line(console, f"Session: {begun.folder}")
    if code != DONE:
        print_line(console, f"Continue: c10k run --resume {begun.folder}")
        then = shlex.join(["c10k", "compare", str(begun.folder), *names])
        complain(f"to compare them when it has finished: {then}")
        return code
    wanted = [figure for figure in thresholds if figure]
    found = compare.servers(store.load(begun.folder), names[0], names[1], wanted)
    return _compared(found, [], form, thresholds)


def _blocks(
    name: str, clients: Sequence[str] | None, thresholds: Mapping[str, float]
) -> int | None:
    """The fewest blocks that can show a difference between two servers; None for a search."""
    chosen = workload.override(
        workload.choose(name, paths.WORKLOADS), clients=words.counts(clients)
    )
    if chosen.search:
        return None
    asked = set(filter(None, thresholds))
    rows = sum(len({load.facts.primary, *asked}) for load in chosen.loads)
    return max(chosen.blocks, comparison.blocks_for(rows))


def _compared(
    found: Comparison, different: Sequence[str], form: str, thresholds: Mapping[str, float]
) -> int:
    """Prints a comparison in one of the formats; the exit code that the thresholds ask for."""
    failed, untold = compare.failed(found, thresholds), compare.untold(found, thresholds)
    _print_comparison(found, different, form, failed, untold)
    for line in comparisons.sentences(failed, untold):
        complain(line)
    lacking = sorted(set(thresholds) - {"", *(row.figure for row in found.rows)})
    for figure in lacking:
        complain(f"cannot be told: no trial of either side has {figure}")
    if not all(row.a_bound or row.b_bound for row in untold):  # for bounds more blocks do not help
        complain(f"what would tell: {found.advice}")
    return FAILED if failed else WRONG if untold or lacking else DONE


def _print_comparison(
    found: Comparison,
    different: Sequence[str],
    form: str,
    failed: Sequence[Compared],
    untold: Sequence[Compared],
) -> None:
    before = [*(f"environment: {line}" for line in different), *found.warnings]
    if form == "json":
        whole = {
            "environment": list(different),
            **records.comparison_as_dict(found),
            "failed": list(map(records.compared_as_dict, failed)),
            "untold": list(map(records.compared_as_dict, untold)),
        }
        print_json(whole)
    elif form == "csv":
        print(export.comparison_as_csv(found), end="")
    elif form == "markdown":
        print(markdown.compared(found, before), end="")
    else:
        console = Console()
        console.width = max(console.width, terminal.widest(comparisons.comparison(found)))
        console.print(terminal.compared(found, before), soft_wrap=True)


def _called(mine: Sequence[Path], theirs: Sequence[Path]) -> tuple[str, str]:
    """What the two sides are called: their folders' names where these tell them apart."""
    sides = [[each.name for each in side] for side in (mine, theirs)]
    if set(sides[0]) & set(sides[1]):
        sides = [list(map(str, side)) for side in (mine, theirs)]
    return ", ".join(sides[0]), ", ".join(sides[1])


def _series(folder: Path) -> list[Session]:
    """The sessions in a folder of equal ones."""
    found = [store.load(path.parent) for path in sorted(folder.glob("*/session.json"))]
    if len(found) < evidence.ENOUGH:
        raise UserError(
            f"--between {folder}: has {len(found)} sessions, but {evidence.ENOUGH} or more are "
            "needed; make them with c10k run WORKLOAD --out FOLDER/1, FOLDER/2 ..."
        )
    return found
