"""c10k claims: the experiments on what the talk claimed."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, kw_only=True)
class Options:
    """What claims are tested with.

    Parameters
    ----------
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

    quick: Annotated[bool, Flag] = False
    python: str | None = None
    ladder: Path | None = None
    out: Path | None = None
    again: Annotated[Path | None, Parameter(name="--show")] = None
    form: Form = "terminal"


@app.command(name="claims")
def claims_(
    *names: str,
    options: Annotated[Options, Parameter(name="*")] = Options(),
) -> int:
    """Put the talk's claims to the test: each an experiment with a rule fixed in advance.

    Example: c10k claims --quick
    Example: c10k claims threads_race --python python3.14t

    Parameters
    ----------
    names
        Names of claims, or paths of modules that are claims; without any, all of the suite's.
    """
    if options.again is not None:
        if names or replace(options, again=None, form="terminal") != Options():
            raise UserError("--show makes nothing: give no other option with it but --format")
        _outcomes(options.again, options.form)
        return DONE
    launch.raise_descriptor_limit()
    chosen = claims.choose(words.split(names), claims.find(paths.CLAIMS))
    if options.python is not None and shutil.which(options.python) is None:
        raise UserError(f"--python {options.python}: no such interpreter")
    console = Console(stderr=options.form != "terminal")
    folder = options.out or Path("results") / f"{begin.stamp()}-claims"
    ladder = options.ladder or paths.SUITE / "results" / "reference-c10k"
    known = claims.begin(
        folder,
        ClaimsHead(
            claims.SCHEMA,
            metadata.version("c10k-bench"),
            timestamp(),
            options.quick,
            paths.name_of(ladder),
            machine.environment(paths.SUITE),
        ),
    )
    left = {name: each for name, each in chosen.items() if name not in known}
    print_line(console, f"{len(left)} claims, at most {4 if options.quick else 15} minutes")
    code = _run(left, folder, console, ladder, options)
    _outcomes(folder, options.form)
    print_line(console, f"Outcomes: {folder}")
    if code == EARLY:
        again_with = " ".join(["c10k claims", *names, *(["--quick"] if options.quick else [])])
        print_line(console, f"Continue: {again_with} --out {folder}")
    return code


def _run(
    left: Mapping[str, ModuleType],
    folder: Path,
    console: Console,
    ladder: Path,
    options: Options,
) -> int:
    """Makes the experiments and keeps each outcome; DONE, or EARLY where it was interrupted."""
    try:
        with Interruptible(), tempfile.TemporaryDirectory(dir=keeper.keeper().folder) as logs:
            setting = claims.Setting(
                options.quick,
                claims.QUICK if options.quick else claims.FULL,
                ladder,
                options.python,
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
