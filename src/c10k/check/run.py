"""Runs the cases on one server, and remembers what passed.

A check costs about a second, so a session repeats it only when something it depends on
has changed: the server's files, the interpreter, the framework, or this kit.
"""

import contextlib
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from .. import launch, places
from ..model import CaseResult, Conformance, Server
from .cases import CASES, Case
from .client import Failed, Subject

BUDGET_S = 15.0  # for all cases together; a good server needs about one second
_SEED = 10_000


def check(
    server: Server,
    only: Sequence[str] = (),
    *,
    workdir: Path,
    versions: Mapping[str, str] | None = None,
    bind: str = "127.0.0.1:0",
    ready_s: float = launch.READY_S,
    python: str = sys.executable,
) -> Conformance:
    """Runs all cases, or those named in only, on one server; its log stays in workdir.

    python: the interpreter it runs on.

    The first result, "start", says whether it came to serve within ready_s seconds; when
    it did not there are no others. A failed case never ends the check. Raises ValueError
    for an unknown case.
    """
    if unknown := set(only) - {case.name for case in CASES}:
        known = ", ".join(case.name for case in CASES)
        raise ValueError(f"no case is named {sorted(unknown)[0]!r}; there are {known}")
    wanted = [case for case in CASES if not only or case.name in only]
    checked_at = datetime.now(UTC).isoformat(timespec="seconds")
    began = time.monotonic()
    workdir.mkdir(parents=True, exist_ok=True)
    subject = Subject(server, workdir / f"{server.name}.log", bind, ready_s, _SEED, python)
    with contextlib.closing(subject):
        results = [_try(Case("start", "", lambda subject: None), subject)]
        if results[0].verdict == "ok":
            for case in wanted:
                late = time.monotonic() > began + BUDGET_S
                results.append(_not_tried(case) if late else _try(case, subject))
    return Conformance(server.name, checked_at, fingerprint(server, versions or {}), tuple(results))


def _not_tried(case: Case) -> CaseResult:
    return CaseResult(case.name, "failed", f"not tried: the check had taken {BUDGET_S:.0f} s")


def _try(case: Case, subject: Subject) -> CaseResult:
    began = time.monotonic()
    detail = ""
    try:
        _ = subject.running  # starts it when the case before has ended it
        case.run(subject)
        detail = subject.gone()
    except launch.NotServing as error:
        detail = str(error)
    except (Failed, OSError) as error:
        detail = str(error)
        if reason := subject.gone(wait_s=0.2):
            detail += f"; {reason}"
    subject.hang_up()
    if detail:
        subject.close()  # whatever state it is in, the next case gets a fresh one
    took_s = time.monotonic() - began
    return CaseResult(case.name, "failed" if detail else "ok", detail, took_s)


def fingerprint(server: Server, versions: Mapping[str, str]) -> str:
    """What a check's result depends on, as 16 hexadecimal digits.

    The server's files (all that share its name: sources and .toml), the interpreter, the
    versions given, and the sources of the launcher and this kit.
    """
    kit = [*Path(__file__).parent.glob("*.py"), Path(launch.__file__)]
    digest = hashlib.sha256(repr((sys.version, sorted(versions.items()))).encode())
    for source in (*places.sources(server.path), *sorted(kit)):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()[:16]


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
    if found := remembered(server, versions, folder):
        return found
    conformance = check(server, workdir=folder, versions=versions)
    remember(server, conformance, folder)
    return conformance


def _place(server: Server, folder: Path) -> Path:
    of = hashlib.sha256(repr((server.path, server.dependencies, server.python)).encode())
    return folder / f"{server.name}-{of.hexdigest()[:8]}.json"
