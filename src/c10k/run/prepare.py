"""Before the first trial: what each server runs on, and its conformance check."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from .. import check, paths
from ..errors import UserError
from ..launch import interpreter, runtime
from ..model import Conformance, Runtime, Server
from ..text import on_interpreter


def interpreters(words: Sequence[str], say: Callable[[str], None]) -> list[str]:
    """Those of a workload's interpreters that this machine has, each once.

    Raises UserError when it has none of them.
    """
    found: dict[str, str] = {}
    for word in words:
        on = interpreter.find(word)
        if on is None:
            say(f"! {word}: {interpreter.missing(word)}; left out")
            continue
        if on.program in found:
            say(f"{word} is the same interpreter as {found[on.program]}; left out")
        else:
            found[on.program] = word
            say(f"{word}: Python {on_interpreter(on.version, on.build, on.gil)}")
    if not found:
        raise UserError(f"none of the interpreters is on this machine: {', '.join(words)}")
    return list(found.values())


def runtimes(
    servers: Sequence[Server], say: Callable[[str], None]
) -> tuple[dict[str, Runtime], dict[str, str]]:
    """What each server runs on, by name; and for servers that cannot run here, why."""
    found: dict[str, Runtime] = {}
    cannot: dict[str, str] = {}
    for server in servers:
        try:
            found[server.name] = runtime.prepare(server)
        except runtime.CannotRun as error:
            cannot[server.name] = str(error)
        else:
            if server.isolated:
                say(f"{server.name}: {_in_words(found[server.name])}")
    return found, cannot


def _in_words(on: Runtime) -> str:
    versions = [f"{name} {version}" for name, version in on.versions.items()]
    return ", ".join([f"Python {on_interpreter(on.python, on.build, on.gil)}", *versions])


def conformance(
    servers: Sequence[Server], on: Mapping[str, Runtime], say: Callable[[str], None]
) -> dict[str, Conformance]:
    """The check of each server that can run here; an earlier one where nothing has changed.

    A server that is entered under several names is checked once, as one process. Raises
    UserError when the cache cannot be written.
    """
    folder = paths.cache() / "checks"
    made: dict[Server, Conformance] = {}
    found = {}
    for server in servers:
        if server.name not in on:
            continue
        runs_on = on[server.name]
        name = server.name if server.isolated else Path(server.path).stem
        alone = replace(server, name=name, processes=1, sharing="")
        if alone not in made:
            versions = runs_on.depended_on
            known = check.remembered(alone, versions, folder)
            made[alone] = known or check.check(
                alone, workdir=folder, versions=versions, python=runs_on.executable
            )
            unchanged = " (unchanged since)" if known else ""
            say(f"{name}: {_verdict(made[alone])}, checked {made[alone].checked_at}{unchanged}")
        found[server.name] = made[alone]
    return found


def _verdict(result: Conformance) -> str:
    passed = len(result.results) - len(result.failures)
    failed = ", ".join(failure.case for failure in result.failures)
    return f"{passed} cases passed" + (f", failed {failed}" if failed else "")
