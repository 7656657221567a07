"""c10k list, new, check, serve: the servers by themselves."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.prompt import Prompt
from rich.table import Table
from rich.text import Text

from .. import check, launch, paths
from ..declare import catalog, choosing, template, workload
from ..errors import UserError, os_reason
from ..launch import keeper, requirements, runtime
from ..model import CaseResult, Conformance, Server
from ..render import conformance
from ..text import plain
from . import words
from .app import DONE, FAILED, Json, Many, app
from .console import complain, print_json, print_line, write
from .interrupt import Interruptible

LOOK_S = 0.5  # how often c10k serve looks whether its server still runs


@app.command(name="list")
def list_(*, as_json: Annotated[bool, Json] = False) -> int:
    """List the servers and the workloads, and what is missing to run each server here.

    Example: c10k list

    Parameters
    ----------
    as_json
        Print both lists as JSON, with every key of each server.
    """
    servers, faults = catalog.known()
    workloads = [workload.read(path) for path in workload.find(paths.WORKLOADS).values()]
    if as_json:
        found = [
            {
                **msgspec.to_builtins(server),
                "versions": requirements.installed(server),
                "why_not": requirements.why_not_runnable(server),
            }
            for server in servers
        ]
        known = [{"name": each.name, "title": each.title} for each in workloads]
        print_json({"servers": found, "workloads": known})
        return DONE
    grid = Table("server", "tier", "model", "unit", "framework", box=None, pad_edge=False)
    for server in servers:
        version = requirements.installed(server).get(server.framework, "")
        here = (
            requirements.why_not_runnable(server) or f"{server.framework} {version}".strip() or "–"
        )
        cells = (server.name, server.tier, server.model, server.unit, here)
        grid.add_row(*(Text(plain(cell)) for cell in cells))
    console = Console()
    console.width = max(console.width, Console(width=1000).measure(grid).maximum)
    console.print(grid)
    for fault in faults:
        print_line(console, f"! {fault}")
    console.print()
    for each in workloads:
        print_line(console, f"{each.name}: {each.title}")
    return DONE


@app.command(name="new")
def new_(name: str, /, *, framework: str = "", model: str = "") -> int:
    """Create NAME.py here: a copy of the closest existing server, ready to run.

    Example: c10k new demo --framework asyncio

    Parameters
    ----------
    name
        Name of the server and of its file.
    framework
        Framework to start from: the first word of a server's name (see c10k list).
    model
        Concurrency model to start from: callbacks, coroutines, greenlets ... (see c10k list).
    """
    servers = catalog.known().servers
    name = name.removesuffix(".py")
    path = Path(f"{name}.py")
    try:
        if not framework and not model:
            framework = _asked_framework(servers)
        nearest = template.template(servers, framework, model)
        written = template.text(nearest, name)
        with path.open("x", encoding="utf-8") as file:
            file.write(written)
    except FileExistsError:
        raise UserError(f"{path} already exists; choose another name") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {os_reason(error)}") from None
    console = Console()
    print_line(console, f"{path} is a copy of {nearest.name} ({nearest.model}). Change it, then")
    print_line(console, f"  c10k check ./{path}")
    print_line(console, f"  c10k serve ./{path} --bind 127.0.0.1:7000")
    print_line(console, f"  c10k run quick --servers ./{path} {nearest.name}")
    if reason := requirements.why_not_runnable(nearest):
        print_line(console, f"! {path} cannot run here yet: {reason}")
    return DONE


@app.command(name="check")
def check_(
    servers: list[str] | None = None,
    /,
    *,
    full: bool = False,
    cases: Annotated[list[str] | None, Many] = None,
    list_cases: Annotated[bool, Parameter(name="--list")] = False,
    junit: Path | None = None,
    as_json: Annotated[bool, Json] = False,
) -> int:
    """Run the conformance kit: do servers echo correctly? Results are never cached.

    Example: c10k check trio_streams --full

    Parameters
    ----------
    servers
        Names, @tiers, paths of server files, or NAME=COMMAND (see c10k run --help).
    full
        Also run the long cases: about a minute per server instead of a second.
    cases
        Run only these cases (see --list).
    list_cases
        List the cases and what each is for, and check nothing.
    junit
        Also write the results to this file, as JUnit XML.
    as_json
        Print the results as JSON instead of lines; with --list, the cases.
    """
    console = Console()
    if list_cases:
        return _list_cases(console, as_json)
    if not servers:
        raise UserError("check: name a server (see c10k list), or give --list to see the cases")
    only = words.split(cases)
    try:
        asked = check.chosen(only, full)
    except ValueError as error:
        raise UserError(f"--cases: {error}") from None
    launch.raise_descriptor_limit()
    chosen = choosing.choose(servers, catalog.known().servers)
    if junit is not None:
        write(junit, "", "--junit")  # fails now rather than after minutes
    shown = conformance.columns((server.name for server in chosen), (case.name for case in asked))
    quiet = Console(quiet=as_json)
    quiet.print(shown.heading(), soft_wrap=True)
    found, not_run = _checked(chosen, only, full, shown, quiet)
    if junit is not None:
        write(junit, conformance.junit(found, not_run), "--junit")
    if as_json:
        reports = [{"server": n, "status": "not run", "reason": why} for n, why in not_run.items()]
        reports += [
            {"status": "failed" if each.failures else "ok", **msgspec.to_builtins(each)}
            for each in found
        ]
        print_json({"checks": reports})
    return FAILED if not_run or any(each.failures for each in found) else DONE


def _checked(
    servers: Sequence[Server],
    only: Sequence[str],
    full: bool,
    shown: conformance.Columns,
    console: Console,
) -> tuple[list[Conformance], dict[str, str]]:
    """Each server's check, printed case by case; and why the other servers could not be run."""
    found: list[Conformance] = []
    not_run: dict[str, str] = {}
    folder = paths.cache() / "checks"
    for server in servers:
        try:
            on = runtime.prepare(server)
        except runtime.CannotRun as error:
            not_run[server.name] = str(error)
            print_line(console, f"{server.name}: not run: {error}")
            continue

        def seen(result: CaseResult, name: str = server.name) -> None:
            console.print(shown.line(name, result), soft_wrap=True)

        found.append(
            check.check(
                server,
                only,
                workdir=folder,
                full=full,
                versions=on.depended_on,
                python=on.executable,
                seen=seen,
            )
        )
    return found, not_run


def _list_cases(console: Console, as_json: bool) -> int:
    """Prints every case with the sentence that says what it is for."""
    kits = {"first": check.CASES, "long": check.LONG}
    known = [(kit, case) for kit, cases in kits.items() for case in cases]
    if as_json:
        cases = [{"name": case.name, "kit": kit, "why": case.why} for kit, case in known]
        print_json({"cases": cases})
        return DONE
    width = max(len(case.name) for _, case in known)
    for kit, case in known:
        print_line(console, f"{case.name:{width}}  {kit:5}  {case.why}")
    return DONE


@app.command
def serve(server: str, /, *, bind: str = "127.0.0.1:0") -> int:
    """Run one server until Ctrl-C, on a listening socket as a session gives it.

    Example: c10k serve trio_streams --bind 127.0.0.1:7000

    Parameters
    ----------
    server
        Name of a server (see c10k list), path of a server file, or NAME=COMMAND.
    bind
        Address to listen on: HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 takes a free port.
    """
    (chosen,) = choosing.choose([server], catalog.known().servers)[:1]
    try:
        on = runtime.prepare(chosen)
    except runtime.CannotRun as error:
        raise UserError(f"{chosen.name}: {error}") from None
    launch.raise_descriptor_limit()
    with tempfile.TemporaryDirectory(dir=keeper.keeper().folder) as folder:
        try:
            running = launch.start(chosen, Path(folder) / "log", bind=bind, python=on.executable)
        except (launch.NotServing, ValueError, OSError) as error:
            raise UserError(f"{chosen.name}: {error}") from None
        try:
            with Interruptible():
                where = running.address
                at = where if isinstance(where, str) else "{}:{}".format(*where)
                print(plain(f"{chosen.name} serves {at} (process {running.pid}); Ctrl-C ends it"))
                if of := running.certificate:
                    print(plain(f"It speaks TLS: clients verify it with {of.authority}"))
                sys.stdout.flush()
                if exposure := launch.exposure(where, tls=chosen.tls):
                    complain(exposure)
                # Not one wait without end: a signal that comes just before it would not end it.
                while running.process.poll() is None:
                    sleep(LOOK_S)
                raise UserError(f"{chosen.name}: {running.why_gone()}")
        except KeyboardInterrupt:
            return DONE
        finally:
            running.stop()


def _asked_framework(servers: Sequence[Server]) -> str:
    """The framework that the user chooses. Raises NoTemplate without a terminal to ask on."""
    known = list(template.frameworks(servers))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise template.NoTemplate(
            f"say what to start from: give --model, or --framework {', '.join(known)}"
        )
    return Prompt.ask("Framework to start from", choices=known, default="asyncio")
