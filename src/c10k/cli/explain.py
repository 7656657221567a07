"""c10k explain: why one server is slower than another."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console

from .. import launch
from ..declare import catalog, choosing
from ..errors import UserError, os_reason
from ..launch import runtime
from ..model import Explained, Runtime, Server
from ..render import explained, terminal
from ..run import begin
from ..run import explain as explaining
from . import words
from .app import DONE, Json, app
from .console import print_json, print_line, write
from .interrupt import Interruptible

PAGE = "explain.html"
_SECONDS = validators.Number(gte=0.1, lte=600)


@app.command(name="explain")
def explain_(
    a: str,
    b: str = "",
    /,
    *,
    clients: str = "100",
    seconds: Annotated[float, Parameter(validator=_SECONDS)] = explaining.SECONDS,
    out: Path | None = None,
    as_json: Annotated[bool, Json] = False,
) -> int:
    """Show what a server does for each message, or how two servers differ in that.

    Example: c10k explain trio_streams asyncio_streams
    Example: c10k explain ./before.py ./after.py --clients 1k

    Each server runs four times under the same closed loop, each time with
    another instrument: the kernel's counts of context switches, strace (system
    calls), perf (instructions, cycles, and system calls again) and py-spy (a flame
    graph). What is missing is left out, with a line that says how to get it.
    This measures no speed, because instruments slow a server. docs/explain.md says
    how it counts.

    Parameters
    ----------
    a
        A server: a name, NAME@DISTRIBUTION==VERSION, NAME@3.13t, a path or NAME=COMMAND.
    b
        The server that it is compared with; without it, A alone is shown.
    clients
        Number of clients: 100, or 10k.
    seconds
        How long each run loads its server, in seconds.
    out
        Folder for the flame graphs and the page [default: results/DATE-TIME-explain].
    as_json
        Print the counts as JSON instead of the table.
    """
    servers = _servers([a, b] if b else [a])
    folder = out or Path("results") / f"{begin.stamp()}-explain"
    setting = explaining.Setting(_one(words.counts([clients])), seconds, folder)
    console = Console(stderr=as_json)
    found = _counted(servers, setting, console)
    pictures = {one.server: (folder / one.flame).read_bytes() for one in found if one.flame}
    page = explained.page(found, setting.clients, pictures)
    write(folder / PAGE, page, "--out", parents=True)
    if as_json:
        print_json(explained.as_dict(found, setting.clients))
    else:
        _print(found, console)
    print_line(console, f"Page: {folder / PAGE}")
    return DONE


def _counted(
    servers: Sequence[Server], setting: explaining.Setting, console: Console
) -> tuple[Explained, ...]:
    """Runs the servers. A folder in which nothing was drawn does not stay."""
    launch.raise_descriptor_limit()
    for server in servers:
        explaining.admit(server, setting.clients)
    on = {server.name: _prepared(server) for server in servers}
    try:
        setting.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {setting.folder}: {os_reason(error)}") from None
    try:
        with Interruptible():
            return explaining.explain(servers, on, setting, lambda line: print_line(console, line))
    finally:
        with suppress(OSError):
            setting.folder.rmdir()  # which only an empty one allows


def _servers(wanted: list[str]) -> tuple[Server, ...]:
    found = choosing.choose(wanted, catalog.known().servers)
    if len(found) != len(wanted):
        names = ", ".join(server.name for server in found)
        raise UserError(
            f"explain takes one server, or two with different names, not {len(found)}: {names}"
        )
    return found


def _one(counts: list[int]) -> int:
    if len(counts) != 1 or counts[0] < 1:
        raise UserError("--clients: give one number, 1 or more")
    return counts[0]


def _prepared(server: Server) -> Runtime:
    try:
        return runtime.prepare(server)
    except runtime.CannotRun as error:
        raise UserError(f"{server.name}: {error}") from None


def _print(found: tuple[Explained, ...], console: Console) -> None:
    shown = explained.table(found)
    console.width = max(console.width, terminal.widest([shown]))
    console.print()
    console.print(terminal.grid(shown))
    for line in explained.sentences(found):
        print_line(console, line)
    for line in explained.footnotes(found):
        print_line(console, line)
    for line in explained.left_out(found):
        print_line(console, f"! {line}")
