"""Runs the cases on one server, and remembers what passed.

The first kit costs about a second, so a session repeats it only when something it depends
on has changed: the server's files, the interpreter, the framework, or this kit.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil

from .. import launch, paths
from ..errors import UserError
from ..model import CaseResult, Conformance, Grade, Server
from .cases import CASES, Case
from .client import Finding, Subject
from .long import LONG

BUDGET_S = 15.0  # for all cases together; a good server needs about one second
LONG_BUDGET_S = 300.0  # with the longer ones, for which a good server needs about one minute
_SEED = 10_000


def chosen(only: Sequence[str] = (), full: bool = False) -> tuple[Case, ...]:
    """The first kit, or all cases, or only those named. Raises ValueError for an unknown one."""
    every = CASES + LONG
    if unknown := set(only) - {case.name for case in every}:
        known = ", ".join(case.name for case in every)
        raise ValueError(f"no case is named {sorted(unknown)[0]!r}; there are {known}")
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
    """Runs the first kit on one server; its log stays in workdir.

    full: the longer cases, too. only: these cases instead, of either. seen is told each
    result as it comes. python: the interpreter it runs on. The first result, "start", says
    whether it came to serve within ready_s seconds; when it did not there are no others. A
    failed case never ends the check. Raises ValueError for an unknown case.
    """
    wanted = chosen(only, full)
    budget_s = LONG_BUDGET_S if set(wanted) & set(LONG) else BUDGET_S
    checked_at = datetime.now(UTC).isoformat(timespec="seconds")
    began = time.monotonic()
    workdir.mkdir(parents=True, exist_ok=True)
    subject = Subject(server, workdir / f"{server.name}.log", bind, ready_s, _SEED, python)
    with contextlib.closing(subject):
        results = [_try(Case("start", "", lambda subject: None), subject)]
        seen(results[0])
        for case in wanted if results[0].verdict == "ok" else ():
            late = time.monotonic() > began + budget_s
            results.append(_not_tried(case, budget_s) if late else _try(case, subject))
            seen(results[-1])
    return Conformance(server.name, checked_at, fingerprint(server, versions or {}), tuple(results))


def _not_tried(case: Case, budget_s: float) -> CaseResult:
    return CaseResult(case.name, "failed", f"not tried: the check had taken {budget_s:.0f} s")


def _try(case: Case, subject: Subject) -> CaseResult:
    began = time.monotonic()
    verdict, detail = _outcome(case, subject)
    subject.hang_up()
    if detail:
        subject.close()  # whatever state it is in, the next case gets a fresh one
    return CaseResult(case.name, verdict, detail, time.monotonic() - began)


def _outcome(case: Case, subject: Subject) -> tuple[Grade, str]:
    """The verdict and what was seen. Whatever the case found, a server that is gone failed."""
    verdict: Grade = "ok"
    detail = ""
    try:
        _ = subject.running  # starts it when the case before has ended it
        case.run(subject)
    except launch.NotServing as error:
        return "failed", str(error)
    except Finding as error:
        verdict, detail = error.verdict, str(error)
    except (OSError, psutil.Error) as error:
        verdict, detail = "failed", str(error)
    if reason := subject.gone(wait_s=launch.REAP_S if verdict == "failed" else 0.0):
        return "failed", "; ".join(filter(None, (detail, reason)))
    return verdict, detail


def fingerprint(server: Server, versions: Mapping[str, str]) -> str:
    """What a check's result depends on, as 16 hexadecimal digits.

    The server's files (all that share its name: sources and .toml), the interpreter, the
    versions given, and the sources of the launcher and this kit.
    """
    kit = [path for of in (__file__, launch.__file__) for path in Path(of).parent.glob("*.py")]
    interpreter = (sys.version, sorted(versions.items()))
    return paths.digest((*paths.sources(server.path), *sorted(kit)), interpreter)


def remembered(server: Server, versions: Mapping[str, str], folder: Path) -> Conformance | None:
    """An earlier passing check of exactly this server in these versions; its date is in it."""
    try:
        text = _place(server, folder).read_bytes()
        found = msgspec.json.decode(text, type=Conformance)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.fingerprint == fingerprint(server, versions) else None


def remember(server: Server, conformance: Conformance, folder: Path) -> None:
    """Keeps a complete check that passed; any other is forgotten, so that it is repeated."""
    tried = {result.case for result in conformance.results}
    if conformance.failures or not tried.issuperset(case.name for case in CASES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    place = _place(server, folder)
    fresh = place.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(conformance))
    fresh.replace(place)


def checked(server: Server, versions: Mapping[str, str], folder: Path) -> Conformance:
    """The remembered check, or a new one, remembered when it passes; its log is in folder."""
    return remembered(server, versions, folder) or anew(server, versions=versions, workdir=folder)


def anew(server: Server, only: Sequence[str] = (), *, workdir: Path, **options: Any) -> Conformance:
    """check(), and remembers a whole check that passes. Raises UserError without a folder."""
    try:
        found = check(server, only, workdir=workdir, **options)
        remember(server, found, workdir)
    except OSError as error:
        raise UserError(
            f"{workdir}: {error.strerror or error}; set XDG_CACHE_HOME to another"
        ) from None
    return found


def _place(server: Server, folder: Path) -> Path:
    digest = paths.digest(value=(server.path, server.dependencies, server.python))
    return folder / f"{server.name}-{digest}.json"
