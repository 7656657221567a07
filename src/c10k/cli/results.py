"""c10k show, report, export: a stored session as tables, a page, or files for other tools."""

import contextlib
import sys
from pathlib import Path
from time import sleep
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.console import Console

from .. import claims, machine, paths
from ..errors import UserError
from ..judge import judge
from ..model import Judged
from ..render import columns as table_columns
from ..render import export, html, markdown, records, table, terminal, verdicts
from ..run import store
from ..text import plain
from . import words
from .app import DONE, Json, Many, app
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
    watch: bool = False,
    form: Form = "terminal",
    as_json: Annotated[bool, Json] = False,
) -> int:
    """Print the tables of a stored session, finished or not.

    Example: c10k show results/reference-c10k --clients 10k --sort p99 --columns p50 p99 errors

    Parameters
    ----------
    folder
        Folder of the session.
    servers
        Show only these servers: names or @tiers.
    clients
        Show only these client counts: 100 10k.
    sort
        Sort by this column, greatest first; the beginning of its title is enough: p99, CPU ...
    columns
        Show only these columns; the beginnings of their titles are enough.
    group
        Group the lines by load or by server.
    watch
        Follow a session that runs in another terminal: print again after each trial.
    form
        Output format.
    as_json
        The same as --format json.
    """
    view = table.View(sort, tuple(words.split(columns)), group)
    while True:
        # The work is done between trials: within one it would distort the figures.
        with store.between_trials(folder) if watch else contextlib.nullcontext():
            seen = store.size(folder)
            stored = store.load(folder)
            judged = judge(stored)
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
    folders: list[Path],
    /,
    *,
    claimed: Annotated[Path | None, Parameter(name="--claims")] = None,
    out: Path | None = None,
) -> int:
    """Write a self-contained HTML page: verdict, limits, charts, tables, filters.

    Example: c10k report results/reference-c10k

    Parameters
    ----------
    folders
        Folder of one session, or of several to show side by side.
    claimed
        Folder written by c10k claims; the page then shows these verdicts, too.
    out
        File to write [default: report.html in the first folder].
    """
    _need_report()
    stored = [store.load(folder) for folder in folders]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = list(map(str, folders))
    parts = [
        html.PageSession(name, session, judge(session))
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
    """Raises UserError where a library that makes the page is not installed."""
    try:
        import altair  # noqa: F401
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        remedy = paths.pip_install("'c10k-bench[report]'")
        raise UserError(f"the report needs {error.name}, which is missing: {remedy}") from None


@app.command(name="export")
def export_(
    folder: Path,
    /,
    *,
    form: Annotated[export.Format, Parameter(name="--format")],
    out: Path | None = None,
) -> int:
    """Convert a session to a format that other tools read.

    Example: c10k export results/reference-c10k --format csv > rows.csv
    Example: c10k export results/reference-c10k --format pytest-benchmark --out .benchmarks

    Parameters
    ----------
    folder
        Folder of the session.
    form
        Output format. pytest-benchmark: a file for its list and compare commands; hdr: logs and
        percentile files of HdrHistogram.
    out
        Folder to write to; without it, the output is printed if it is a single file.
    """
    stored = store.load(folder)
    files = export.FORMATS[form](stored, judge(stored))
    if out is None and len(files) > 1:
        raise UserError(f"--format {form} writes {len(files)} files: give --out FOLDER")
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
    """Returns when the file of trials is no longer this long; a look is one system call."""
    while True:
        sleep(WATCH_S)
        if store.size(folder) != known:
            return
