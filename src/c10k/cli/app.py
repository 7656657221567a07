"""The command `c10k`: its help, its exit codes, and what is printed for a wrong call.

Every command turns words into values, calls the library below it, and turns values into
text. Exit codes: 0 done, 1 the comparison or check failed, 2 the call was wrong or the comparison
cannot be judged, 3 the session ended early and can be resumed.
"""

import os
import signal
import sys
from importlib import metadata
from typing import Any, NoReturn

from cyclopts import App, CycloptsError, Parameter
from cyclopts.help import DefaultFormatter, HelpPanel
from rich.console import Console, ConsoleOptions
from rich.text import Text

from ..errors import UserError
from .console import complain

DONE, FAILED, WRONG, EARLY = 0, 1, 2, 3


class _Help(DefaultFormatter):
    """Help that fills its lines: where a description breaks in the source means nothing."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):
                text.plain = " ".join(text.plain.split())
        super().__call__(console, options, panel)


def _default(value: Any) -> str | None:
    """A default as help shows it; None for those that say nothing."""
    return None if value in (None, False, "") else str(value)


app = App(
    name="c10k",
    help="Benchmarks echo servers: threads or an event loop, up to 10,000 clients and beyond.",
    help_epilogue="Start with `c10k run`: it takes four minutes and prints one table.",
    help_format="plaintext",
    help_formatter=_Help(),
    default_parameter=Parameter(negative="", show_default=_default),
    version=lambda: metadata.version("c10k-bench"),
)
Many = Parameter(consume_multiple=True)
Json = Parameter(name="--json")


def main() -> NoReturn:
    """Runs the command line and exits with its code; never with a traceback."""
    try:
        code = app(
            _words(sys.argv[1:]),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
    except CycloptsError as error:
        called = " ".join(["c10k", *(error.command_chain or ())])
        code = _wrong(f"{' '.join(str(error).split())} (see {called} --help)")
    except UserError as error:
        code = _wrong(str(error))
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = DONE
    except OSError as error:  # such as no memory or no descriptor left, where none is expected
        code = _wrong(str(error))
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(code or DONE)


def _words(given: list[str]) -> list[str]:
    """The words of the call, in the form that cyclopts reads. Raises UserError."""
    for word in given:
        if any("\ud800" <= each <= "\udfff" for each in word):
            raise UserError(f"{word!r} is not UTF-8 text")
    if given[:1] == ["compare"]:  # A1 A2 A3 -- B1 B2 B3
        return ["--against" if word == "--" else word for word in given]
    return given


def _wrong(line: str) -> int:
    complain(line)
    return WRONG
