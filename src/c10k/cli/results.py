"""c10k show, report, export: a stored session as tables, a page, or other programs' files."""

import contextlib
import sys
from pathlib import Path
from time import sleep
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.console import Console

from .. import claims, judge, machine, paths
from ..errors import UserError
from ..model import Judged
from ..render import columns as table_columns
from ..render import export, html, markdown, records, table, terminal, verdicts
from ..run import store
from ..text import plain
from . import words
from .app import DONE, Flag, Json, Many, app
from .console import print_json, write

Form = Annotated[Literal["terminal", "markdown", "json"], Parameter(name="--format")]

WATCH_S = 10.0


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
    form: Form = "terminal",
    as_json: Annotated[bool, Json] = False,
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
    view = table.View(sort, tuple(words.split(columns)), group)
    while True:
        # What follows a session works while no trial runs: else it would be in its figures.
        with store.between_trials(folder) if watch else contextlib.nullcontext():
            seen = store.size(folder)
            stored = store.load(folder)
            judged = judge.judge(stored)
            wanted = words.servers_of(servers, stored.plan.servers)
            if watch and sys.stdout.isatty():
                Console().clear()
            chosen = table_columns.filtered(judged, wanted, words.counts(clients))
            print_session(chosen, "json" if as_json else form, view)
            sys.stdout.flush()
        if not watch or judged.finished:
            return DONE
        _await_trial(folder, seen)


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
    _need_report()
    stored = [store.load(folder) for folder in folders]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = list(map(str, folders))
    parts = [
        html.PageSession(name, session, judge.judge(session))
        for name, session in zip(names, stored, strict=True)
    ]
    different = [
        f"{name}: {line}"
        for name, session in zip(names[1:], stored[1:], strict=True)
        for line in machine.differences(stored[0].environment, session.environment)
    ]
    outcomes = verdicts.Outcomes(claimed.name, *claims.load(claimed)) if claimed else None
    page = out or folders[0] / "report.html"
    write(page, html.render(parts, different, outcomes), "--out")
    print(plain(str(page)))
    return DONE


def _need_report() -> None:
    """Raises UserError where the libraries that draw and fill in the page are not installed."""
    try:
        import altair  # noqa: F401
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        remedy = paths.pip_install("'c10k-bench[report]'")
        raise UserError(f"{error.name} is not installed: {remedy}") from None


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
        raise UserError(f"--format {form} makes {len(files)} files: say where with --out FOLDER")
    for name, text in files.items():
        if out is None:
            print(text, end="")
            continue
        write(out / name, text, "--out", parents=True)
        print(plain(str(out / name)))
    return DONE


def print_session(judged: Judged, form: str, view: table.View | None = None) -> None:
    """Prints a session's tables in one of the formats."""
    if form == "json":
        found = {
            "rows": [records.as_dict(row) for row in judged.rows],
            "memory": msgspec.to_builtins(judged.memory),
            "breaking": msgspec.to_builtins(judged.breaking),
            "warnings": list(judged.warnings),
        }
        print_json(found)
    elif form == "markdown":
        print(markdown.render(judged, view), end="")
    else:
        console = Console()
        console.width = max(console.width, terminal.width(judged, view))
        console.print(terminal.render(judged, view))


def _await_trial(folder: Path, known: int) -> None:
    """Until there is another trial than in so many bytes; a look is one system call."""
    while True:
        sleep(WATCH_S)
        if store.size(folder) != known:
            return
