"""Runs the cases on one server, and remembers a check that passed.

The first kit takes about a second, so a session repeats it only when something that the
result depends on has changed: the server's files, the interpreter, the framework, or this kit.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from .. import launch, paths
from ..errors import UserError, os_reason
from ..model import CaseResult, Conformance, Grade, Server
from ..text import timestamp
from .cases import CASES, Case
from .client import Finding, Subject
from .long import LONG

BUDGET_S = 15.0  # for all cases together; a good server needs about one second
LONG_BUDGET_S = 300.0  # with the longer ones, for which a good server needs about one minute
_SEED = 10_000


def chosen(only: Sequence[str] = (), full: bool = False) -> tuple[Case, ...]:
    """The first kit, all cases, or only the named ones. Raises ValueError for an unknown name."""
    every = CASES + LONG
    if unknown := set(only) - {case.name for case in every}:
        known = ", ".join(case.name for case in every)
        raise ValueError(f"there is no case {sorted(unknown)[0]!r}; choose from {known}")
    if only:
        return tuple(case for case in every if case.name in only)
    return every if full else CASES


def check(
    server: Server,
    only: Sequence[str] = (),
    *,
    workdir: Path,
    full: bool = False,
    versions: Mapping[str, str] | None = None,
    bind: str = "127.0.0.1:0",
    ready_s: float = launch.READY_S,
    python: str = sys.executable,
    seen: Callable[[CaseResult], None] = lambda result: None,
) -> Conformance:
    """Runs the first kit on one server. workdir keeps its log, and a whole check that passes.

    full: also the longer cases. only: these cases instead, of either kit. versions: of the
    server's distributions, on which the result depends. python: the interpreter that runs the
    server. seen is given each result as it comes. The first result, "start", says whether the
    server came to serve within ready_s seconds; when it did not there are no others. A failed
    case never ends the check. Raises ValueError for an unknown case, and UserError when
    workdir cannot be written.
    """
    wanted = chosen(only, full)
    checked_at = timestamp()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        subject = Subject(server, workdir / f"{server.name}.log", bind, ready_s, _SEED, python)
        with contextlib.closing(subject):
            results = tuple(_results(subject, wanted, seen))
        made_of = fingerprint(server, versions or {})
        found = Conformance(server.name, checked_at, made_of, results)
        remember(server, found, workdir)
    except OSError as error:
        raise UserError(
            f"{workdir}: {os_reason(error)}; set XDG_CACHE_HOME to another folder"
        ) from None
    return found


def _results(
    subject: Subject, wanted: Sequence[Case], seen: Callable[[CaseResult], None]
) -> Iterator[CaseResult]:
    """The result of "start" and, when the server serves, of each case while there is time."""
    budget_s = LONG_BUDGET_S if set(wanted) & set(LONG) else BUDGET_S
    deadline = time.monotonic() + budget_s
    started = _try(Case("start", "", lambda subject: None), subject)
    seen(started)
    yield started
    for case in wanted if started.verdict == "ok" else ():
        if time.monotonic() > deadline:
            reason = f"not tried: the check had taken {budget_s:.0f} s"
            result = CaseResult(case.name, "failed", reason)
        else:
            result = _try(case, subject)
        seen(result)
        yield result


def _try(case: Case, subject: Subject) -> CaseResult:
    began = time.monotonic()
    verdict, detail = _outcome(case, subject)
    subject.hang_up()
    if detail:
        subject.close()  # its state is unknown, so the next case gets a fresh one
    return CaseResult(case.name, verdict, detail, time.monotonic() - began)


def _outcome(case: Case, subject: Subject) -> tuple[Grade, str]:
    """The verdict and what was seen. A server that is gone failed, whatever the case found."""
    verdict: Grade = "ok"
    detail = ""
    if reason := case.why_not(subject.server):
        return "informational", reason
    try:
        _ = subject.running  # starts it when the case before ended it
        case.run(subject)
    except launch.NotServing as error:
        return "failed", str(error)
    except Finding as error:
        verdict, detail = error.verdict, str(error)
    except (OSError, psutil.Error) as error:
        verdict, detail = "failed", str(error)
    if reason := subject.why_gone(wait_s=launch.REAP_S if verdict == "failed" else 0.0):
        return "failed", "; ".join(filter(None, (detail, reason)))
    return verdict, detail


def fingerprint(server: Server, versions: Mapping[str, str]) -> str:
    """A digest of everything that a check's result depends on.

    The server's files (all that share its stem: sources and .toml), the interpreter, the
    given versions, and the sources of the launcher and this kit.
    """
    kit = [path for of in (__file__, launch.__file__) for path in Path(of).parent.glob("*.py")]
    interpreter = (sys.version, sorted(versions.items()))
    return paths.digest((*paths.sources(*server.files), *sorted(kit)), interpreter)


def remembered(server: Server, versions: Mapping[str, str], folder: Path) -> Conformance | None:
    """An earlier check of exactly this server in these versions that passed; it has its date."""
    try:
        text = _place(server, folder).read_bytes()
        found = msgspec.json.decode(text, type=Conformance)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.fingerprint == fingerprint(server, versions) else None


def remember(server: Server, conformance: Conformance, folder: Path) -> None:
    """Keeps a complete check that passed. Any other is not kept, so that it is repeated."""
    tried = {result.case for result in conformance.results}
    if conformance.failures or not tried.issuperset(case.name for case in CASES):
        return
    paths.replace_whole(_place(server, folder), msgspec.json.encode(conformance))


def _place(server: Server, folder: Path) -> Path:
    digest = paths.digest(value=(server.path, server.dependencies, server.python))
    return folder / f"{server.name}-{digest}.json"
