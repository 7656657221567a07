"""The command line: wires the modules together; holds no logic.

Exit codes: 0 done, 1 the comparison or check failed, 2 the call was wrong or cannot be
judged, 3 the session ended early and can be resumed.
"""

import contextlib
import csv
import json
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from itertools import chain
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import Annotated, Literal, NoReturn

import msgspec
from cyclopts import App, CycloptsError, Parameter, validators
from msgspec.structs import replace
from rich.console import Console
from rich.prompt import Prompt
from rich.table import Table
from rich.text import Text

from . import (
    catalog,
    check,
    claims,
    cluster,
    compare,
    evidence,
    figures,
    histograms,
    judge,
    keeper,
    launch,
    local,
    machine,
    new,
    places,
    plan,
    runtime,
    search,
    session,
    store,
    workload,
)
from .model import (
    CaseResult,
    ClaimsHead,
    Comparison,
    Conformance,
    Goal,
    Judged,
    Plan,
    Runtime,
    Server,
    Session,
    Trial,
)
from .plain import plain
from .render import conformance, export, html, markdown, progress, table, terminal, verdicts

DONE, FAILED, WRONG, EARLY = 0, 1, 2, 3
WATCH_S = 10.0

app = App(
    name="c10k",
    help="Threads or an event loop past 10,000 clients? Measures echo servers, with evidence.",
    help_epilogue="Start with `c10k run`: four minutes, one table.",
    help_format="plaintext",
    version=lambda: metadata.version("c10k-bench"),
)
Many = Parameter(consume_multiple=True, negative="")
Flag = Parameter(negative="")
_SEEDS = validators.Number(gte=-(10**15), lte=10**15)  # as model.Whole


_UNITS = {"_per_s": "1/s", "_us": "µs", "_bytes": "bytes", "_us_per_message": "µs", "_s": "s"}


def _figures() -> dict[str, str]:
    """What --fail-on may name: as it is written → the figure."""
    named = {key.removesuffix("_bytes").removesuffix("_us"): key for key in figures.FIGURES}
    return {**named, compare.BREAKING: compare.BREAKING}


def _with_unit(name: str, figure: str) -> str:
    unit = next((unit for end, unit in _UNITS.items() if figure.endswith(end)), "")
    return f"{name} ({unit})" if unit else name


_FAIL_ON = (
    "Judge: 5% is how much worse each load's primary figure may be; FIGURE:5% another's, e.g. "
    "messages_per_s:5% memory_per_client:10%. Exit code 1: something is broken, or surely worse "
    "than that (its whole interval); 2: it cannot be told; 0: shown to be no worse than that. "
    f"Figures: {', '.join(_with_unit(*each) for each in _figures().items())}."
)


class Wrong(Exception):
    """The call was wrong: one line that says what, where and what to do next."""


def main() -> NoReturn:
    """Runs the command line and exits with its code; never with a traceback."""
    errors = (
        Wrong,
        catalog.CatalogError,
        workload.WorkloadError,
        store.StoreError,
        compare.NothingInCommon,
        claims.ClaimError,
        cluster.ClusterError,
        export.ExportError,
        histograms.HistogramError,
    )
    try:
        words = sys.argv[1:]
        for word in words:
            if any("\ud800" <= each <= "\udfff" for each in word):
                raise Wrong(f"{word!r}: not UTF-8 text")
        if words[:1] == ["compare"]:  # A1 A2 A3 -- B1 B2 B3
            words = ["--against" if word == "--" else word for word in words]
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        code = _say(f"{' '.join(str(error).split())} (c10k --help shows the commands)")
    except errors as error:
        code = _say(str(error))
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = DONE
    except OSError as error:  # the machine is out of something, and nobody expected it there
        code = _say(str(error))
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(code or DONE)


def _say(line: str) -> int:
    print(f"c10k: {plain(line)}", file=sys.stderr)
    return WRONG


@app.command
def run(
    name: Annotated[str, Parameter(name="workload")] = "quick",
    /,
    *,
    servers: Annotated[list[str] | None, Many] = None,
    clients: Annotated[list[str] | None, Many] = None,
    blocks: int | None = None,
    processes: int | None = None,
    sharing: Annotated[list[Literal["one-socket", "reuseport"]] | None, Many] = None,
    seed: Annotated[int | None, Parameter(validator=_SEEDS)] = None,
    out: Path | None = None,
    resume: Path | None = None,
    force: Annotated[bool, Flag] = False,
    unchecked: Annotated[bool, Flag] = False,
    memory: str = "50%",
    precision: str | None = None,
    max_blocks: int | None = None,
    time: str | None = None,
    isolated: Annotated[bool, Flag] = False,
    python: str = "",
    scheduler: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    race: Annotated[bool, Parameter(parse=False)] = False,
) -> int:
    """Run a session: every server under every load, block by block, then the table.

    Example: c10k run quick --servers threads_sockets asyncio_streams --clients 100 10k
    Example: c10k run --servers trio_streams@trio==0.24 trio_streams ./mine.py 'go=./echo'

    Parameters
    ----------
    name
        A workload's name (c10k list) or the path of its .toml file.
    servers
        Names, @tiers, paths of server files, or NAME=COMMAND for any program that adopts
        standard input, instead of the workload's. NAME@DISTRIBUTION==VERSION and
        NAME@python3.13 run one in an environment of its own.
    clients
        Client counts, instead of the workload's: 100 10k, or 100,10k.
    blocks
        How often every server meets every load.
    processes
        Copies of each server that serve together.
    sharing
        With several: all on one-socket, or each on its own (reuseport); both are compared.
    seed
        Draws the order of each block; recorded, so that a plan can be had again.
    out
        The session's folder [default: results/DATE-TIME-WORKLOAD].
    resume
        Go on with a session that ended early, as it was planned.
    force
        Resume although the machine or a server's code has changed; the session says so.
    unchecked
        Do not check that the servers echo rightly before they are timed.
    memory
        Of the free memory, what a trial may take before it is stopped.
    precision
        Add blocks until every ratio's interval is that narrow: 3%.
    max_blocks
        With --precision: stop at so many blocks [default: 50].
    time
        With --precision: stop when the next block would overrun it: 20m, 90s, 1h.
    isolated
        Each Python server in an environment of its own, with what its file asks for.
    python
        The interpreter of these environments (a path, 3.13, python3.14t); implies --isolated.
    scheduler
        Run on the hosts of this Dask scheduler, tcp://HOST:PORT, instead of here (c10k cluster).
    as_json
        Print the rows as JSON instead of the table.
    """
    console = Console(stderr=as_json)
    launch.raise_descriptor_limit()
    memory_share = _share("--memory", memory)
    machines = _machines(scheduler)
    if resume is not None:
        given = (servers, clients, blocks, processes, sharing, seed, out, precision, max_blocks)
        asked = any(option is not None for option in (*given, time)) or isolated or python
        if asked or name != "quick":
            raise Wrong("--resume takes the plan of the session: give no other option with it")
        folder = resume
        begun = store.unfinished(resume)
        for line in catalog.foreign(begun.plan.servers):
            _line(console, f"! as the session says, this is run: {line}")
        runtimes, cannot = _prepare(begun.plan.servers, console)
        changed = session.changes(
            begun,
            machine.differences(begun.environment, machines.environment()),
            {server.name: catalog.code(server) for server in begun.plan.servers},
            runtimes,
        )
        if changed and not force:
            raise Wrong(
                f"{resume}: changed since it began: {'; '.join(changed)}. "
                "--force goes on and marks the session as mixed"
            )
        head, writer = store.resume(resume, changed)
    else:
        if force:
            raise Wrong("--force goes with --resume")
        chosen = workload.cut(
            workload.choose(name, places.WORKLOADS),
            servers=catalog.words(servers or ()),
            clients=_counts(clients),
            blocks=blocks,
            processes=processes,
            sharing=sharing or (),
        )
        if race:  # of two: the first is the reference, and its twin the control
            chosen = replace(chosen, reference="", control=not chosen.search)
        goal = _goal(precision, max_blocks, time)
        if goal and chosen.search:
            raise Wrong("--precision: a search ends when it has found its limit")
        folder = out or Path("results") / f"{session.stamp()}-{chosen.name}"
        contenders = catalog.choose(chosen.servers, catalog.known().servers)
        if isolated or python:
            contenders = catalog.isolated(contenders, python)
        if scheduler and any(server.isolated for server in contenders):
            raise Wrong("environments of their own are made here: not together with --scheduler")
        copies = plan.copies(contenders, chosen.processes, chosen.sharing)
        drawn = random.SystemRandom().randrange(2**32) if seed is None else seed
        planned = plan.make(chosen, copies, drawn)
        runtimes, cannot = _prepare(planned.servers, console)
        head = Session(
            schema=store.SCHEMA,
            c10k=metadata.version("c10k-bench"),
            started_at=session.now(),
            plan=planned,
            environment=machines.environment(),
            conformance={} if unchecked else _check_all(planned.servers, runtimes, console),
            goal=goal,
            code={server.name: catalog.code(server) for server in planned.servers},
            runtimes={key: replace(on, executable="") for key, on in runtimes.items()},
        )
        writer = store.create(folder, head)
    planned = head.plan
    room = machines.room(planned, memory_share)
    for reason in dict.fromkeys(map(room, planned.trials)):
        if reason:
            _line(console, f"! {reason}; smaller counts run")
    execute = machines.executor(
        planned,
        writer.logs,
        memory_share=memory_share,
        runtimes=runtimes,
        refuse=session.refusals(cannot, room, head.conformance),
    )
    finished = {measurement.trial.key for measurement in head.measurements}
    left = [trial for trial in planned.trials if trial.key not in finished]
    expected_s = plan.expected_s(
        [trial for trial in left if trial.server not in cannot and not room(trial)]
    )
    if planned.workload.search:
        expected_s *= search.rounds(planned.workload.search)
    _line(
        console,
        f"{planned.workload.title}: {len(left)} trials, about {progress.duration(expected_s)}, "
        f"{execute.note}, seed {planned.seed}",
    )
    if scheduler:
        _line(console, "! servers serve whoever can reach their hosts' addresses, unencrypted")
    code = DONE
    try:
        with (
            _interruptible(),
            progress.Lines(console, len(left), planned.workload.blocks, expected_s) as lines,
        ):
            session.run(
                planned,
                execute,
                writer,
                done=head.measurements,
                more=_more(planned, head.goal, folder, console),
                before=lines.before,
                after=lines.after,
            )
        writer.finish(session.now())
    except (KeyboardInterrupt, store.StoreError, session.Lost) as error:
        code = EARLY
        why = str(error) or "interrupted"
        _line(console, f"! {why}; what was measured is kept")
    finally:
        writer.close()
        machines.close()
    try:
        if not race:  # which shows what it compares
            _show(judge.judge(store.load(folder)), "json" if as_json else "terminal")
    except store.StoreError as error:  # what could not be written may not be read either
        code = EARLY
        _line(console, f"! {error}")
    _line(console, f"Session: {folder}")
    if code == EARLY:
        _line(console, f"Continue: c10k run --resume {folder}")
    return code


@app.command(name="list")
def list_(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """List the servers and the workloads, and what is missing to run each server here.

    Example: c10k list
    """
    servers, faults = catalog.known()
    workloads = [workload.read(path) for path in workload.find(places.WORKLOADS).values()]
    if as_json:
        found = [
            {
                **msgspec.to_builtins(server),
                "versions": catalog.versions(server),
                "why_not": catalog.why_not(server),
            }
            for server in servers
        ]
        known = [{"name": each.name, "title": each.title} for each in workloads]
        print(json.dumps({"servers": found, "workloads": known}, indent=1))
        return DONE
    grid = Table("server", "tier", "model", "unit", "framework", box=None, pad_edge=False)
    for server in servers:
        version = catalog.versions(server).get(server.framework, "")
        here = catalog.why_not(server) or f"{server.framework} {version}".strip() or "–"
        cells = (server.name, server.tier, server.model, server.unit, here)
        grid.add_row(*(Text(plain(cell)) for cell in cells))
    console = Console()
    console.width = max(console.width, Console(width=1000).measure(grid).maximum)
    console.print(grid)
    for fault in faults:
        _line(console, f"! {fault}")
    console.print()
    for each in workloads:
        _line(console, f"{each.name}: {each.title}")
    return DONE


@app.command(name="new")
def new_(name: str, /, *, framework: str = "", model: str = "") -> int:
    """Write a new server that already runs, NAME.py here: a copy of the nearest there is.

    Example: c10k new demo --framework asyncio

    Parameters
    ----------
    name
        Of the server and its file.
    framework
        The framework to start from: the first word of a server's name (c10k list).
    model
        The concurrency model to start from: callbacks, coroutines, greenlets ...
    """
    servers = catalog.known().servers
    name = name.removesuffix(".py")
    path = Path(f"{name}.py")
    try:
        if not framework and not model:
            framework = _asked_framework(servers)
        nearest = new.template(servers, framework, model)
        written = new.text(nearest, name)
        with path.open("x", encoding="utf-8") as file:
            file.write(written)
    except new.NoTemplate as error:
        raise Wrong(str(error)) from None
    except FileExistsError:
        raise Wrong(f"{path}: there already; choose another name") from None
    except OSError as error:
        raise Wrong(f"{path}: cannot be written: {error.strerror or error}") from None
    console = Console()
    _line(console, f"{path}: a copy of {nearest.name} ({nearest.model}); change it, then")
    _line(console, f"  c10k check ./{path}")
    _line(console, f"  c10k serve ./{path} --bind 127.0.0.1:7000")
    _line(console, f"  c10k run quick --servers ./{path} {nearest.name}")
    if reason := catalog.why_not(nearest):
        _line(console, f"! it cannot run here yet: {reason}")
    return DONE


@app.command(name="check")
def check_(
    servers: Annotated[list[str] | None, Parameter(negative="")] = None,
    /,
    *,
    full: Annotated[bool, Flag] = False,
    cases: Annotated[list[str] | None, Many] = None,
    list_cases: Annotated[bool, Parameter(name="--list", negative="")] = False,
    junit: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Check that servers echo rightly: the conformance kit, always anew.

    Example: c10k check trio_streams --full

    Parameters
    ----------
    servers
        Names, @tiers or paths of server files.
    full
        The longer cases, too: a minute a server instead of a second.
    cases
        Only these cases.
    list_cases
        List the cases, each with what it is for, and check nothing.
    junit
        Write the results to this file, too, as JUnit XML.
    as_json
        Print the results as JSON.
    """
    console = Console()
    if list_cases:
        return _list_cases(console, as_json)
    if not servers:
        raise Wrong("check: name a server (c10k list shows them), or --list the cases")
    try:
        asked = check.chosen(_split(cases), full)
    except ValueError as error:
        raise Wrong(f"--cases: {error}") from None
    launch.raise_descriptor_limit()
    chosen = catalog.choose(servers, catalog.known().servers)
    if junit is not None:
        _write(junit, "--junit", "")  # now, not after minutes, it is known whether that is possible
    shown = conformance.columns((server.name for server in chosen), (case.name for case in asked))
    if not as_json:
        console.print(shown.heading(), soft_wrap=True)
    found: list[Conformance] = []
    not_run: dict[str, str] = {}
    for server in chosen:
        try:
            on = runtime.prepare(server)
        except runtime.Impossible as error:
            not_run[server.name] = str(error)
            if not as_json:
                _line(console, f"{server.name}: not run: {error}")
            continue

        def seen(result: CaseResult, name: str = server.name) -> None:
            if not as_json:
                console.print(shown.line(name, result), soft_wrap=True)

        found.append(_check(server, on, _split(cases), full=full, seen=seen))
    if junit is not None:
        _write(junit, "--junit", conformance.junit(found, not_run))
    if as_json:
        reports = [{"server": n, "status": "not run", "reason": why} for n, why in not_run.items()]
        reports += [
            {"status": "failed" if each.failures else "ok", **msgspec.to_builtins(each)}
            for each in found
        ]
        print(json.dumps({"checks": reports}, indent=1))
    return FAILED if not_run or any(each.failures for each in found) else DONE


def _list_cases(console: Console, as_json: bool) -> int:
    """Every case with the sentence that says what it is for."""
    kits = {"first": check.CASES, "long": check.LONG}
    known = [(kit, case) for kit, cases in kits.items() for case in cases]
    if as_json:
        cases = [{"name": case.name, "kit": kit, "why": case.why} for kit, case in known]
        print(json.dumps({"cases": cases}, indent=1))
        return DONE
    width = max(len(case.name) for _, case in known)
    for kit, case in known:
        _line(console, f"{case.name:{width}}  {kit:5}  {case.why}")
    return DONE


@app.command
def serve(server: str, /, *, bind: str = "127.0.0.1:0") -> int:
    """Run one server by hand until Ctrl-C, on the same listening socket a session gives it.

    Example: c10k serve trio_streams --bind 127.0.0.1:7000

    Parameters
    ----------
    server
        A name or the path of a server file.
    bind
        HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 takes a free one.
    """
    (chosen,) = catalog.choose([server], catalog.known().servers)[:1]
    try:
        on = runtime.prepare(chosen)
    except runtime.Impossible as error:
        raise Wrong(f"{chosen.name}: {error}") from None
    launch.raise_descriptor_limit()
    with tempfile.TemporaryDirectory(dir=keeper.keeper().folder) as folder:
        try:
            running = launch.start(chosen, Path(folder) / "log", bind=bind, python=on.executable)
        except (launch.NotServing, ValueError, OSError) as error:
            raise Wrong(f"{chosen.name} on {bind}: {error}") from None
        try:
            with _interruptible():
                where = running.address
                at = where if isinstance(where, str) else "{}:{}".format(*where)
                print(plain(f"{chosen.name} serves {at} (process {running.pid}); Ctrl-C ends it"))
                sys.stdout.flush()
                if exposed := launch.exposed(where):
                    print(f"c10k: {exposed}", file=sys.stderr)
                running.process.wait()
                raise Wrong(f"{chosen.name}: {running.gone()}")
        except KeyboardInterrupt:
            return DONE
        finally:
            running.stop()


@app.command
def show(
    folder: Path,
    /,
    *,
    servers: Annotated[list[str] | None, Many] = None,
    clients: Annotated[list[str] | None, Many] = None,
    sort: str = "",
    columns: Annotated[list[str] | None, Many] = None,
    group: Literal["load", "server"] = "load",
    watch: Annotated[bool, Flag] = False,
    form: Annotated[
        Literal["terminal", "markdown", "json"], Parameter(name="--format")
    ] = "terminal",
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show a session's tables again, finished or not.

    Example: c10k show results/reference-c10k --clients 10k --sort p99 --columns p50 p99 errors

    Parameters
    ----------
    folder
        The session's folder.
    servers
        Only these: names or @tiers.
    clients
        Only these client counts: 100 10k.
    sort
        By this column, the greatest first: p99, CPU ... (the beginning of its title).
    columns
        Only these columns.
    group
        Lines of one load together, or of one server.
    watch
        Follow a session that runs in another terminal; looks every ten seconds.
    form
        terminal, markdown, or json.
    as_json
        The same as --format json.
    """
    view = table.View(sort, tuple(_split(columns)), group)
    try:
        while True:
            # What follows a session works while no trial runs: else it would be in its figures.
            with store.between_trials(folder) if watch else contextlib.nullcontext():
                seen = store.size(folder)
                stored = store.load(folder)
                judged = judge.judge(stored)
                chosen = table.only(judged, _named(servers, stored.plan.servers), _counts(clients))
                if watch and sys.stdout.isatty():
                    Console().clear()
                _show(chosen, "json" if as_json else form, view)
                sys.stdout.flush()
            if not watch or judged.finished:
                return DONE
            _await_trial(folder, seen)
    except table.ViewError as error:
        raise Wrong(str(error)) from None


@app.command
def report(
    folders: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    claimed: Annotated[Path | None, Parameter(name="--claims")] = None,
    out: Path | None = None,
) -> int:
    """Write one self-contained page: verdict, limits, pictures with their tables, filters.

    Example: c10k report results/reference-c10k

    Parameters
    ----------
    folders
        One session's folder, or several to put side by side.
    claimed
        A folder of `c10k claims`, whose verdicts the page is to show.
    out
        The page's file [default: report.html in the (first) folder].
    """
    try:
        import altair  # noqa: F401
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        remedy = places.pip_install("'c10k-bench[report]'")
        raise Wrong(f"{error.name} is not installed: {remedy}") from None
    stored = [store.load(folder) for folder in folders]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = list(map(str, folders))
    parts = [
        html.Part(name, session, judge.judge(session))
        for name, session in zip(names, stored, strict=True)
    ]
    different = [
        f"{name}: {line}"
        for name, session in zip(names[1:], stored[1:], strict=True)
        for line in machine.differences(stored[0].environment, session.environment)
    ]
    outcomes = verdicts.Outcomes(claimed.name, *claims.load(claimed)) if claimed else None
    page = out or folders[0] / "report.html"
    try:
        page.write_text(html.render(parts, different, outcomes), encoding="utf-8")
    except OSError as error:
        raise Wrong(f"{page}: {(error.strerror or str(error)).lower()}; try --out") from None
    print(plain(str(page)))
    return DONE


@app.command(name="export")
def export_(
    folder: Path,
    /,
    *,
    form: Annotated[
        Literal["pytest-benchmark", "csv", "markdown", "hdr", "jsonl"], Parameter(name="--format")
    ],
    out: Path | None = None,
) -> int:
    """Write a session for other tools.

    Example: c10k export results/reference-c10k --format csv > rows.csv
    Example: c10k export results/reference-c10k --format pytest-benchmark --out .benchmarks

    Parameters
    ----------
    folder
        The session's folder.
    form
        pytest-benchmark (for its list and compare), csv, markdown, hdr (HdrHistogram's logs and
        percentile files) or jsonl.
    out
        The folder to write into; without it a single file is printed.
    """
    stored = store.load(folder)
    files = export.FORMATS[form](stored, judge.judge(stored))
    if out is None and len(files) > 1:
        raise Wrong(f"--format {form} makes {len(files)} files: say where with --out FOLDER")
    for name, text in files.items():
        if out is None:
            print(text, end="")
            continue
        try:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise Wrong(f"{out / name}: {(error.strerror or str(error)).lower()}") from None
        print(plain(str(out / name)))
    return DONE


Form = Annotated[
    Literal["terminal", "markdown", "csv", "json"], Parameter(name="--format", show_choices=True)
]
FailOn = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="", help=_FAIL_ON)]


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
    thresholds = _thresholds(fail_on)
    wanted = [name for name in thresholds if name]
    if against is None and len(others) == 2 and not Path(others[0], "session.json").is_file():
        if between or servers:
            raise Wrong("--between and --servers go with two sessions, not with two servers of one")
        return _compared(compare.servers(store.load(a), *others, wanted), [], form, thresholds)
    if against is None and len(others) != 1:
        raise Wrong("say which sessions are the other side: c10k compare A1 A2 A3 -- B1 B2 B3")
    mine = [a, *map(Path, others if against is not None else ())]
    theirs = against if against is not None else [Path(others[0])]
    loaded = [[store.load(folder) for folder in side] for side in (mine, theirs)]
    series = _series(between) if between else []
    if series and min(map(len, loaded)) >= evidence.ENOUGH:
        raise Wrong("--between: three sessions a side say themselves how far they lie apart")
    known = {each.name: each for one in chain(*loaded) for each in one.plan.servers}
    kept = _named(servers, list(known.values()))
    found = compare.sessions(
        loaded[0], loaded[1], _called(mine, theirs), wanted, between=series, servers=kept
    )
    first, *rest = chain(*loaded)
    different = [machine.differences(first.environment, each.environment) for each in rest]
    told = list(dict.fromkeys(line for lines in different for line in lines))
    return _compared(found, told, form, thresholds)


@app.command(name="race")
def race_(
    a: str,
    b: str,
    name: Annotated[str, Parameter(name="workload")] = "race",
    /,
    *,
    blocks: int | None = None,
    clients: Annotated[list[str] | None, Many] = None,
    fail_on: FailOn = None,
    out: Path | None = None,
    isolated: Annotated[bool, Flag] = False,
    python: str = "",
    unchecked: Annotated[bool, Flag] = False,
    form: Form = "terminal",
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
    thresholds = _thresholds(fail_on)
    wanted = [figure for figure in thresholds if figure]
    names = [server.name for server in catalog.choose([a, b], catalog.known().servers)]
    if len(names) != 2:
        raise Wrong(f"race takes two servers that are told apart by name; these are {len(names)}")
    chosen = workload.cut(workload.choose(name, places.WORKLOADS), clients=_counts(clients))
    if blocks is None and not chosen.search:
        rows = sum(len({figures.PRIMARY[load.kind], *wanted}) for load in chosen.loads)
        blocks = max(chosen.blocks, compare.blocks_for(rows))
    folder = out or Path("results") / f"{session.stamp()}-{chosen.name}"
    code = run(
        name,
        servers=[a, b],
        clients=clients,
        blocks=blocks,
        out=folder,
        unchecked=unchecked,
        isolated=isolated,
        python=python,
        as_json=form != "terminal",
        race=True,
    )
    if code != DONE:
        then = shlex.join(["c10k", "compare", str(folder), *names])
        _say(f"when it is finished: {then}")
        return code
    loaded = store.load(folder)
    return _compared(compare.servers(loaded, names[0], names[1], wanted), [], form, thresholds)


def _compared(
    found: Comparison, different: Sequence[str], form: str, thresholds: Mapping[str, float]
) -> int:
    """Prints a comparison in one of the formats; the exit code that the thresholds ask for."""
    failed, untold = compare.failed(found, thresholds), compare.untold(found, thresholds)
    before = [*(f"environment: {line}" for line in different), *found.warnings]
    if form == "json":
        whole = {
            "environment": list(different),
            **msgspec.to_builtins(found),
            "failed": msgspec.to_builtins(failed),
            "untold": msgspec.to_builtins(untold),
        }
        print(json.dumps(whole, indent=1))
    elif form == "csv":
        shown = table.compared(found)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([export.cell(title) for title, _ in shown.headings])
        writer.writerows(map(export.cell, line.cells) for line in shown.lines)
    elif form == "markdown":
        print(markdown.compared(found, before), end="")
    else:
        console = Console()
        console.width = max(console.width, terminal.widest(table.comparison(found)))
        console.print(terminal.compared(found, before), soft_wrap=True)
    for line in table.sentences(failed, untold):
        _say(line)
    lacking = sorted(set(thresholds) - {"", *(row.figure for row in found.rows)})
    for figure in lacking:
        _say(f"cannot be told: no trial of either side has {figure}")
    if not all(row.a_bound or row.b_bound for row in untold):  # that no block would tell
        _say(f"what would tell: {found.advice}")
    return FAILED if failed else WRONG if untold or lacking else DONE


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
        raise Wrong(
            f"--between {folder}: {len(found)} sessions; it takes {evidence.ENOUGH} or more "
            "folders of equal sessions (for n in 1 2 3 4 5: c10k run WORKLOAD --out FOLDER/$n)"
        )
    return found


@app.command(name="claims")
def claims_(
    *names: str,
    quick: Annotated[bool, Flag] = False,
    python: str | None = None,
    ladder: Path | None = None,
    out: Path | None = None,
    again: Annotated[Path | None, Parameter(name="--show")] = None,
    form: Annotated[
        Literal["terminal", "markdown", "json"], Parameter(name="--format")
    ] = "terminal",
) -> int:
    """Put the talk's claims to the test: each an experiment with a rule fixed in advance.

    Example: c10k claims --quick
    Example: c10k claims threads_race --python python3.14t

    Parameters
    ----------
    names
        Names of claims, or paths of modules that are claims; without any, all of the suite's.
    quick
        Fewer repetitions: about four minutes instead of fifteen.
    python
        Another interpreter to try threads on, beside this one: a path or a command.
    ladder
        A session of c10k.toml, for what it decides [default: results/reference-c10k].
    out
        The folder for the outcomes [default: results/DATE-TIME-claims]; what it holds already
        is not made again.
    again
        Make nothing: show the outcomes of this folder again.
    form
        terminal, markdown or json.
    """
    if again is not None:
        if names or quick or python or ladder or out:
            raise Wrong("--show makes nothing: give no other option with it but --format")
        _outcomes(again, form)
        return DONE
    launch.raise_descriptor_limit()
    chosen = claims.choose(_split(names), claims.find(places.CLAIMS))
    if python is not None and shutil.which(python) is None:
        raise Wrong(f"--python {python}: no such interpreter")
    console = Console(stderr=form != "terminal")
    folder = out or Path("results") / f"{session.stamp()}-claims"
    ladder = ladder or places.SUITE / "results" / "reference-c10k"
    known = claims.begin(
        folder,
        ClaimsHead(
            claims.SCHEMA,
            metadata.version("c10k-bench"),
            session.now(),
            quick,
            places.name_of(ladder),
            machine.environment(places.SUITE),
        ),
    )
    left = [name for name in chosen if name not in known]
    _line(console, f"{len(left)} claims, at most {4 if quick else 15} minutes")
    code = DONE
    try:
        with _interruptible(), tempfile.TemporaryDirectory(dir=keeper.keeper().folder) as logs:
            setting = claims.Setting(
                quick,
                claims.QUICK if quick else claims.FULL,
                ladder,
                python,
                Path(logs),
                lambda text: _line(console, f"  {text}"),
            )
            for name in left:
                _line(console, name)
                claims.keep(folder, claims.run(name, chosen[name], setting))
    except KeyboardInterrupt as error:
        code = EARLY
        _line(console, f"! {error or 'interrupted'}; the outcomes so far are kept")
    _outcomes(folder, form)
    _line(console, f"Outcomes: {folder}")
    if code == EARLY:
        again_with = " ".join(["c10k claims", *names, *(["--quick"] if quick else [])])
        _line(console, f"Continue: {again_with} --out {folder}")
    return code


@app.command
def doctor(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """Say what on this machine will spoil or limit a session, and what mends it.

    It changes nothing by itself. Example: c10k doctor

    Parameters
    ----------
    as_json
        Print the findings as JSON.
    """
    findings = machine.doctor()
    if as_json:
        print(json.dumps({"findings": msgspec.to_builtins(findings)}, indent=1))
        return DONE
    console = Console()
    for finding in findings:
        style = {"ok": "", "note": "cyan", "warn": "yellow"}[finding.severity]
        line = Text(f"{finding.severity:5} {finding.what}: {finding.detail}", style=style)
        console.print(line, soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"      → {finding.remedy}"), soft_wrap=True)
    return DONE


@app.command(name="cluster")
def cluster_(
    scheduler: str | None = None,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say how several machines are started, or which ones a scheduler has.

    On one host, which the others reach at 10.0.0.1:

        dask scheduler --host 10.0.0.1 --dashboard-address 127.0.0.1:8787

    On the host that is to serve, and on each that is to be a client:

        dask worker 10.0.0.1:8786 --host 10.0.0.1 --name srv --resources server=1

        dask worker 10.0.0.1:8786 --host 10.0.0.2 --name c1 --resources client=1

    Or all of them over SSH, in a Python that stays; the first of equals serves:

        from dask.distributed import SSHCluster

        hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

        labels = {"resources": {"server": 1, "client": 1}}

        cluster = SSHCluster(hosts, worker_options=labels)

        print(cluster.scheduler_address)

    Then: c10k run quick --scheduler tcp://10.0.0.1:8786

    Whoever reaches these ports runs code on the hosts: bind them to 127.0.0.1
    or to a network of your own (SSHCluster binds to all), or use TLS; see
    docs/several-machines.md.

    Example: c10k cluster tcp://10.0.0.1:8786

    Parameters
    ----------
    scheduler
        Its address, tcp://HOST:PORT or tls://HOST:PORT.
    as_json
        Print the hosts as JSON.
    """
    if scheduler is None:
        app(["cluster", "--help"])
        return DONE
    machines = cluster.connect(scheduler)
    try:
        found = machines.described()
    finally:
        machines.close()
    if as_json:
        print(json.dumps({"hosts": found}, indent=1))
        return DONE
    grid = Table(*found[0], box=None, pad_edge=False)
    for host in found:
        grid.add_row(
            *(
                Text(f"{value:,}" if isinstance(value, int) else plain(str(value)))
                for value in host.values()
            )
        )
    Console().print(grid)
    return DONE


def _asked_framework(servers: Sequence[Server]) -> str:
    """The framework that the user chooses; without a terminal, that it must be given."""
    known = list(new.frameworks(servers))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise new.NoTemplate(f"say what to start from: --framework {', '.join(known)}; or --model")
    return Prompt.ask("Framework to start from", choices=known, default="asyncio")


def _show(judged: Judged, form: str, view: table.View | None = None) -> None:
    """Prints a session's tables in one of the formats."""
    if form == "json":
        found = {
            "rows": [table.as_dict(row) for row in judged.rows],
            "memory": msgspec.to_builtins(judged.memory),
            "breaking": msgspec.to_builtins(judged.breaking),
            "warnings": list(judged.warnings),
        }
        print(json.dumps(found, indent=1))
    elif form == "markdown":
        print(markdown.render(judged, view), end="")
    else:
        console = Console()
        console.width = max(console.width, terminal.width(judged, view))
        console.print(terminal.render(judged, view))


def _outcomes(folder: Path, form: str) -> None:
    """Prints what a folder of claims holds in one of the formats."""
    found = verdicts.Outcomes(folder.name, *claims.load(folder))
    if form == "json":
        print(json.dumps(msgspec.to_builtins(found), indent=1))
    elif form == "markdown":
        print(verdicts.as_markdown(found), end="")
    else:
        Console(soft_wrap=True).print(verdicts.on_terminal(found))


def _await_trial(folder: Path, known: int) -> None:
    """Until there is another trial than in so many bytes; a look is one system call."""
    while True:
        sleep(WATCH_S)
        if store.size(folder) != known:
            return


def _machines(scheduler: str | None) -> session.Machines:
    """What a session runs on: this machine, or the hosts of a scheduler."""
    return local.Here() if scheduler is None else cluster.connect(scheduler)


def _named(words: Sequence[str] | None, servers: Sequence[Server]) -> set[str]:
    """The session's servers that names and @tiers stand for."""
    found: set[str] = set()
    for word in _split(words):
        by_tier = {server.name for server in servers if f"@{server.tier}" == word}
        matched = by_tier or {server.name for server in servers if server.name == word}
        if not matched:
            known = ", ".join(server.name for server in servers)
            raise Wrong(f"--servers {word}: the session has {known}")
        found |= matched
    return found


def _line(console: Console, text: str) -> None:
    """A plain line: no markup, no colours, never wrapped (a program may read it)."""
    console.print(Text(plain(text)), soft_wrap=True)


def _split(words: Sequence[str] | None) -> list[str]:
    """--servers a,b c → a b c."""
    return [part for word in words or () for part in word.split(",") if part]


def _counts(words: Sequence[str] | None) -> list[int]:
    try:
        return [workload.number(word) for word in _split(words)]
    except ValueError as error:
        raise Wrong(f"--clients: {error}") from None


def _thresholds(words: Sequence[str] | None) -> dict[str, float]:
    """--fail-on 5% messages_per_s:5% → figure ("" for the primary one) → share."""
    found: dict[str, float] = {}
    known = _figures()
    for word in _split(words):
        name, colon, share = word.rpartition(":")
        figure = name if name in known.values() else known.get(name, "")
        if colon and not figure:
            raise Wrong(
                f"--fail-on {word}: no figure is named {name!r}; there are {', '.join(known)}"
            )
        if figure in found:
            raise Wrong(f"--fail-on {word}: {figure or 'the primary figure'} is given twice")
        found[figure] = _share(f"--fail-on {word}", share)
    return found


def _share(option: str, text: str) -> float:
    try:
        return workload.share(text)
    except ValueError as error:
        raise Wrong(f"{option}: {error}") from None


def _prepare(
    servers: Sequence[Server], console: Console
) -> tuple[dict[str, Runtime], dict[str, str]]:
    """What each server runs on, by name; and why others cannot run here."""
    runtimes: dict[str, Runtime] = {}
    cannot: dict[str, str] = {}
    for server in servers:
        try:
            runtimes[server.name] = runtime.prepare(server)
        except runtime.Impossible as error:
            cannot[server.name] = str(error)
        else:
            if server.isolated:
                _line(console, f"{server.name}: {_on(runtimes[server.name])}")
    return runtimes, cannot


def _on(found: Runtime) -> str:
    """What a server runs on, in words."""
    lock = "" if found.gil else ", its lock off"
    versions = [f"{name} {version}" for name, version in found.versions.items()]
    return ", ".join([f"Python {found.python}{lock}", *versions])


def _goal(precision: str | None, max_blocks: int | None, time: str | None) -> Goal | None:
    """What --precision, --max-blocks and --time ask for."""
    if precision is None:
        if max_blocks is not None or time is not None:
            raise Wrong("--max-blocks and --time go with --precision")
        return None
    try:
        limit_s = None if time is None else workload.seconds(time)
        goal = Goal(workload.share(precision), 50 if max_blocks is None else max_blocks, limit_s)
    except ValueError as error:
        raise Wrong(f"--precision, --time: {error}") from None
    if not 1 <= goal.max_blocks <= 10_000:
        raise Wrong(f"--max-blocks: {goal.max_blocks} is not between 1 and 10000")
    return goal


def _more(
    planned: Plan, goal: Goal | None, folder: Path, console: Console
) -> Callable[[], Sequence[Trial]]:
    """Further blocks until the goal is met; none without a goal."""
    began = monotonic()

    def more() -> Sequence[Trial]:
        if planned.workload.search:
            return search.following(planned, store.load(folder).measurements)
        if goal is None:
            return ()
        so_far = store.load(folder)
        blocks = 1 + max(m.trial.block for m in so_far.measurements)
        following = plan.block(planned, blocks)
        reason = judge.enough(
            judge.judge(so_far), goal, blocks, monotonic() - began, plan.expected_s(following)
        )
        if reason:
            _line(console, reason)
            return ()
        return following

    return more


def _check_all(
    servers: Sequence[Server], runtimes: Mapping[str, Runtime], console: Console
) -> dict[str, Conformance]:
    """Each server's conformance, remembered from an earlier check where nothing changed.

    What is entered under several names is checked once, as one process.
    """
    folder = places.cache() / "checks"
    made: dict[Server, Conformance] = {}
    found = {}
    for server in servers:
        if server.name not in runtimes:
            continue
        on = runtimes[server.name]
        name = server.name if server.isolated else Path(server.path).stem
        alone = replace(server, name=name, processes=1, sharing="")
        if alone not in made:
            known = check.remembered(alone, on.depended_on, folder)
            made[alone] = known or _check(alone, on, ())
            _line(
                console,
                f"{alone.name}: {_verdict(made[alone])}, checked {made[alone].checked_at}"
                + (" (unchanged since)" if known else ""),
            )
        found[server.name] = made[alone]
    return found


def _check(
    server: Server,
    on: Runtime,
    cases: Sequence[str],
    full: bool = False,
    seen: Callable[[CaseResult], None] = lambda result: None,
) -> Conformance:
    """The kit on one server, now; a whole check that passes is remembered."""
    folder = places.cache() / "checks"
    versions = on.depended_on
    try:
        result = check.check(
            server,
            cases,
            workdir=folder,
            versions=versions,
            python=on.executable,
            full=full,
            seen=seen,
        )
        check.remember(server, result, folder)
    except OSError as error:
        raise Wrong(f"{folder}: {error.strerror}; set XDG_CACHE_HOME to another") from None
    return result


def _write(path: Path, option: str, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Wrong(f"{option} {path}: {error.strerror}") from None


def _verdict(result: Conformance) -> str:
    passed = len(result.results) - len(result.failures)
    failed = ", ".join(failure.case for failure in result.failures)
    return f"{passed} cases passed" + (f", failed {failed}" if failed else "")


class _interruptible:
    """SIGTERM and SIGHUP end what runs as Ctrl-C does: with everything cleaned up.

    None of the three is lost. Python drops an exception that is raised where there is no one
    to raise it to, in a hook at a fork or in a destructor; it then comes again soon after.
    """

    def __enter__(self) -> None:
        self.why = ""
        handlers = {
            signal.SIGTERM: self._raise,
            signal.SIGHUP: self._raise,
            signal.SIGALRM: self._again,
        }
        self.old = {number: signal.signal(number, each) for number, each in handlers.items()}
        self.hook = sys.unraisablehook
        sys.unraisablehook = self._dropped

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = self.hook
        for number, handler in self.old.items():
            signal.signal(number, handler)

    @staticmethod
    def _raise(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")

    def _again(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(self.why)

    def _dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            self.why = str(dropped.exc_value)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            self.hook(dropped)


if __name__ == "__main__":
    main()
