"""c10k claims: the experiments on what the talk claimed."""

import shutil
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console

from .. import claims, launch, machine, paths
from ..errors import UserError
from ..launch import keeper
from ..model import ClaimsHead
from ..render import verdicts
from ..run import begin
from ..text import timestamp
from . import words
from .app import DONE, EARLY, Flag, app
from .console import print_json, print_line
from .interrupt import Interruptible
from .results import Form


@app.command(name="claims")
def claims_(
    *names: str,
    quick: Annotated[bool, Flag] = False,
    python: str | None = None,
    ladder: Path | None = None,
    out: Path | None = None,
    again: Annotated[Path | None, Parameter(name="--show")] = None,
    form: Form = "terminal",
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
            raise UserError("--show makes nothing: give no other option with it but --format")
        _outcomes(again, form)
        return DONE
    launch.raise_descriptor_limit()
    chosen = claims.choose(words.split(names), claims.find(paths.CLAIMS))
    if python is not None and shutil.which(python) is None:
        raise UserError(f"--python {python}: no such interpreter")
    console = Console(stderr=form != "terminal")
    folder = out or Path("results") / f"{begin.stamp()}-claims"
    ladder = ladder or paths.SUITE / "results" / "reference-c10k"
    known = claims.begin(
        folder,
        ClaimsHead(
            claims.SCHEMA,
            metadata.version("c10k-bench"),
            timestamp(),
            quick,
            paths.name_of(ladder),
            machine.environment(paths.SUITE),
        ),
    )
    left = {name: each for name, each in chosen.items() if name not in known}
    print_line(console, f"{len(left)} claims, at most {4 if quick else 15} minutes")
    code = _run(left, folder, console, quick=quick, ladder=ladder, python=python)
    _outcomes(folder, form)
    print_line(console, f"Outcomes: {folder}")
    if code == EARLY:
        again_with = " ".join(["c10k claims", *names, *(["--quick"] if quick else [])])
        print_line(console, f"Continue: {again_with} --out {folder}")
    return code


def _run(
    left: Mapping[str, ModuleType],
    folder: Path,
    console: Console,
    *,
    quick: bool,
    ladder: Path,
    python: str | None,
) -> int:
    """Makes the experiments and keeps each outcome; DONE, or EARLY where it was interrupted."""
    try:
        with Interruptible(), tempfile.TemporaryDirectory(dir=keeper.keeper().folder) as logs:
            setting = claims.Setting(
                quick,
                claims.QUICK if quick else claims.FULL,
                ladder,
                python,
                Path(logs),
                lambda text: print_line(console, f"  {text}"),
            )
            for name, claim in left.items():
                print_line(console, name)
                claims.keep(folder, claims.run(name, claim, setting))
    except KeyboardInterrupt as error:
        print_line(console, f"! {error or 'interrupted'}; the outcomes so far are kept")
        return EARLY
    return DONE


def _outcomes(folder: Path, form: str) -> None:
    """Prints what a folder of claims holds in one of the formats."""
    found = verdicts.Outcomes(folder.name, *claims.load(folder))
    if form == "json":
        print_json(msgspec.to_builtins(found))
    elif form == "markdown":
        print(verdicts.as_markdown(found), end="")
    else:
        Console(soft_wrap=True).print(verdicts.on_terminal(found))
