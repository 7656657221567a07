"""c10k compare, race: what two sides say of each other."""

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
from .app import DONE, FAILED, WRONG, Flag, Many, app
from .console import complain, print_json, print_line

Form = Annotated[
    Literal["terminal", "markdown", "csv", "json"], Parameter(name="--format", show_choices=True)
]


FailOn = Annotated[
    list[str] | None, Parameter(consume_multiple=True, negative="", help=words.fail_on_help())
]


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
) -> int:
    """Compare two sessions, several a side, or two servers of one session, row by row.

    Example: c10k compare A1 A2 A3 -- B1 B2 B3 --fail-on 5%
    Example: c10k compare results/reference-c10k threads_sockets asyncio_streams

    To tell two versions apart, c10k race has both in one session. Sessions differ
    also where nothing changed: they are judged with three or more a side, or with
    a series of equal ones (--between).

    Parameters
    ----------
    a
        A session's folder.
    others
        The other session's folder. Or two servers of session A. Or, with --against, more
        sessions of A's side.
    against
        The sessions of the other side; a bare -- before them says the same.
    between
        A folder of three or more sessions of the same code on this machine: how far they lie
        apart is then known, and one session a side can be judged.
    servers
        Show and judge these only.
    form
        terminal, markdown, csv or json.
    """
    thresholds = words.thresholds(fail_on)
    wanted = [name for name in thresholds if name]
    if against is None and len(others) == 2 and not Path(others[0], "session.json").is_file():
        if between or servers:
            raise UserError(
                "--between and --servers go with two sessions, not with two servers of one"
            )
        return _compared(compare.servers(store.load(a), *others, wanted), [], form, thresholds)
    if against is None and len(others) != 1:
        raise UserError("say which sessions are the other side: c10k compare A1 A2 A3 -- B1 B2 B3")
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
        raise UserError("--between: three sessions a side say themselves how far they lie apart")
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
        How often both meet every load [default: as many as it takes to claim something].
    clients
        Client counts, instead of the workload's: 100 10k, or 100,10k.
    out
        The session's folder [default: results/DATE-TIME-WORKLOAD].
    isolated
        Each in an environment of its own, with what its file asks for.
    python
        The interpreter of these environments (a path, 3.13, python3.14t).
    unchecked
        Do not check that the servers echo rightly before they are timed.
    form
        terminal, markdown, csv or json.
    """

    blocks: int | None = None
    clients: Annotated[list[str] | None, Many] = None
    fail_on: FailOn = None
    out: Path | None = None
    isolated: Annotated[bool, Flag] = False
    python: str = ""
    unchecked: Annotated[bool, Flag] = False
    form: Form = "terminal"


@app.command(name="race")
def race_(
    a: str,
    b: str,
    name: Annotated[str, Parameter(name="workload")] = "race",
    /,
    options: Annotated[RaceOptions, Parameter(name="*")] = RaceOptions(),
) -> int:
    """Race two servers, or two versions of one, in one session: did it become slower?

    Example: c10k race trio_streams@trio==0.34 trio_streams@trio==0.35 --fail-on messages_per_s:5%
    Example: c10k race ./before.py ./after.py throughput --clients 100 1k

    Both meet every load by turns, so that what the machine does falls on both. The
    first is entered twice: what it shows against itself is not claimed of the second.

    Parameters
    ----------
    a
        The server as it was: a name, NAME@DISTRIBUTION==VERSION, a path, NAME=COMMAND.
    b
        The server as it is now.
    name
        A workload's name (c10k list) or the path of its .toml file.
    """
    thresholds = words.thresholds(options.fail_on)
    names = [server.name for server in choosing.choose([a, b], catalog.known().servers)]
    if len(names) != 2:
        raise UserError(f"race takes two servers with different names; these are {len(names)}")
    blocks = options.blocks
    asked = run.Options(
        servers=[a, b],
        clients=options.clients,
        blocks=_blocks(name, options.clients, thresholds) if blocks is None else blocks,
        out=options.out,
        unchecked=options.unchecked,
        isolated=options.isolated,
        python=options.python,
    )
    console = Console(stderr=options.form != "terminal")
    begun = run.start(name, asked, console, race=True)
    code = run.driven(begun, console)
    print_line(console, f"Session: {begun.folder}")
    if code != DONE:
        print_line(console, f"Continue: c10k run --resume {begun.folder}")
        then = shlex.join(["c10k", "compare", str(begun.folder), *names])
        complain(f"when it is finished: {then}")
        return code
    wanted = [figure for figure in thresholds if figure]
    found = compare.servers(store.load(begun.folder), names[0], names[1], wanted)
    return _compared(found, [], options.form, thresholds)


def _blocks(
    name: str, clients: Sequence[str] | None, thresholds: Mapping[str, float]
) -> int | None:
    """As many blocks as it takes to claim something of two servers; None for a search."""
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
    if not all(row.a_bound or row.b_bound for row in untold):  # that no block would tell
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
            f"--between {folder}: {len(found)} sessions; it takes {evidence.ENOUGH} or more "
            "folders of equal sessions (for n in 1 2 3 4 5: c10k run WORKLOAD --out FOLDER/$n)"
        )
    return found
