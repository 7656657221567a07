"""c10k claims: the experiments that test the talk's claims."""

import tempfile
from collections.abc import Mapping, Sequence
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
from ..launch import interpreter, keeper
from ..launch.interpreter import Interpreter
from ..model import ClaimsHead
from ..render import verdicts
from ..run import begin
from ..text import timestamp
from . import words
from .app import DONE, EARLY, Json, Many, app
from .console import print_json, print_line
from .interrupt import Interruptible
from .results import Form


@dataclass(frozen=True, kw_only=True)
class Options:
    """What claims are tested with.

    Parameters
    ----------
    quick
        Run fewer repetitions: about four minutes instead of fifteen.
    python
        More interpreters for the experiments with threads, such as 3.14t: versions, paths or
        optimised. They are also run on the one that runs c10k.
    ladder
        Folder of a session of the workload c10k, which decides some of the claims [default:
        results/reference-c10k].
    out
        Folder for the outcomes [default: results/DATE-TIME-claims]. Outcomes that it already
        holds are not repeated.
    again
        Run nothing; print the outcomes stored in this folder (as c10k show does for sessions).
    form
        Output format.
    as_json
        The same as --format json.
    """

    quick: bool = False
    python: Annotated[list[str] | None, Many] = None
    ladder: Path | None = None
    out: Path | None = None
    again: Annotated[Path | None, Parameter(name="--show")] = None
    form: Form = "terminal"
    as_json: Annotated[bool, Json] = False


@app.command(name="claims")
def claims_(
    *names: str,
    options: Annotated[Options, Parameter(name="*")] = Options(),
) -> int:
    """Test the talk's claims, each by an experiment with a rule fixed in advance.

    Example: c10k claims --quick
    Example: c10k claims threads_race --python 3.14t
    Example: c10k claims --show results/reference-claims --format markdown

    docs/claims.md has the claims and what was found on the reference machine.

    Parameters
    ----------
    names
        Names of claims, or paths of Python modules that hold one [default: all of the suite's].
    """
    form = "json" if options.as_json else options.form
    if options.again is not None:
        if names or replace(options, again=None, form="terminal", as_json=False) != Options():
            raise UserError("--show runs nothing and can only be combined with --format or --json")
        _outcomes(options.again, form)
        return DONE
    launch.raise_descriptor_limit()
    chosen = claims.choose(words.split(names), claims.find(paths.CLAIMS))
    on = _interpreters(words.split(options.python))
    console = Console(stderr=form != "terminal")
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
    code = _run(left, folder, console, ladder, options, on)
    _outcomes(folder, form)
    print_line(console, f"Outcomes: {folder}")
    if code == EARLY:
        given = ["--quick"] * options.quick + ["--python", *(options.python or ())] * bool(
            options.python
        )
        again_with = " ".join(["c10k claims", *names, *given])
        print_line(console, f"Continue: {again_with} --out {folder}")
    return code


def _interpreters(asked: Sequence[str]) -> list[Interpreter]:
    """The interpreter that runs this and those asked for, each once. Raises UserError."""
    found: dict[str, Interpreter] = {}
    for word in (interpreter.DEFAULT, *asked):
        if (one := interpreter.find(word)) is None:
            raise UserError(f"--python {word}: {interpreter.missing(word)}")
        found.setdefault(one.program, one)
    return list(found.values())


def _run(
    left: Mapping[str, ModuleType],
    folder: Path,
    console: Console,
    ladder: Path,
    options: Options,
    on: Sequence[Interpreter],
) -> int:
    """Runs the experiments and stores each outcome; DONE, or EARLY where it was interrupted."""
    try:
        with Interruptible(), tempfile.TemporaryDirectory(dir=keeper.keeper().folder) as logs:
            setting = claims.Setting(
                options.quick,
                claims.QUICK if options.quick else claims.FULL,
                ladder,
                tuple(on),
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
    """Prints the outcomes in a folder in one of the formats."""
    found = verdicts.Outcomes(folder.name, *claims.load(folder))
    if form == "json":
        print_json(msgspec.to_builtins(found))
    elif form == "markdown":
        print(verdicts.as_markdown(found), end="")
    else:
        Console(soft_wrap=True).print(verdicts.on_terminal(found))
