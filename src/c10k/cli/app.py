"""The command `c10k`: its exit codes, and what a wrong call looks like.

Every command turns words into values, calls the library below it, and turns values into
text. Exit codes: 0 done, 1 the comparison or check failed, 2 the call was wrong or cannot be
judged, 3 the session ended early and can be resumed.
"""

import os
import signal
import sys
from importlib import metadata
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter

from ..errors import UserError
from .console import complain

DONE, FAILED, WRONG, EARLY = 0, 1, 2, 3

app = App(
    name="c10k",
    help="Threads or an event loop past 10,000 clients? Measures echo servers, with evidence.",
    help_epilogue="Start with `c10k run`: four minutes, one table.",
    help_format="plaintext",
    version=lambda: metadata.version("c10k-bench"),
)
Many = Parameter(consume_multiple=True, negative="")
Flag = Parameter(negative="")
Json = Parameter(name="--json", negative="")


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
        code = _wrong(f"{' '.join(str(error).split())} (c10k --help shows the commands)")
    except UserError as error:
        code = _wrong(str(error))
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = DONE
    except OSError as error:  # the machine is out of something, and nobody expected it there
        code = _wrong(str(error))
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(code or DONE)


def _words(given: list[str]) -> list[str]:
    """The words of the call as cyclopts reads them. Raises UserError."""
    for word in given:
        if any("\ud800" <= each <= "\udfff" for each in word):
            raise UserError(f"{word!r}: not UTF-8 text")
    if given[:1] == ["compare"]:  # A1 A2 A3 -- B1 B2 B3
        return ["--against" if word == "--" else word for word in given]
    return given


def _wrong(line: str) -> int:
    complain(line)
    return WRONG
