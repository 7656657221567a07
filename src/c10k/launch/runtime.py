"""What a server runs on: this interpreter, or an environment of its own.

For an isolated server uv makes an environment from its PEP 723 block, with its dependencies
and the interpreter that the user asked for, that the server prefers, or that its
requires-python allows. Environments are kept in the cache, named by a digest of interpreter
and requirements, so only the first session waits for them.
"""

import ast
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from packaging.specifiers import SpecifierSet

from .. import paths
from ..errors import os_reason
from ..model import Runtime, Server
from . import backend, build, certificate, interpreter, requirements
from .interpreter import CannotRun, Failed, Interpreter

__all__ = ["CannotRun", "look", "prepare"]

# What uv says of a distribution that it could not install, and what a row says of it.
_CAUSES = (
    (r"Failed to build `([^`]+)`", "{0} cannot be built for Python {1}"),
    (r"Failed to (?:download|fetch)[^`]*`([^`]+)`", "{0} cannot be downloaded"),
    (r"Because there (?:is|are) no versions? of (\S+)", "there is no version of {0}"),
    (r"Because ([\w.-]+) was not found in the", "{0} is not in the package index"),
    (r"Because only (\S+) is available", "only {0} is available"),
)


def prepare(server: Server) -> Runtime:
    """What this server will run on: its build or environment is made first. Raises CannotRun."""
    if server.start:
        if reason := requirements.why_not_runnable(server):
            raise CannotRun(reason)
        try:
            build.command(server)  # builds it
        except (build.NotServing, OSError) as error:
            raise CannotRun(str(error)) from None
        versions, notes = backend.versions(server), requirements.notes(server)
        return Runtime("", versions=versions, notes=notes)
    if server.isolated:
        if reason := requirements.forbidden(server) or backend.why_missing(server):
            raise CannotRun(reason)
        if server.tls and (reason := certificate.why_none()):
            raise CannotRun(reason)
        return look(server, str(_environment(server)))
    if reason := requirements.why_not_runnable(server):
        raise CannotRun(reason)
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return look(server, sys.executable)
    return Runtime(
        sys.executable,
        platform.python_version(),
        True,
        requirements.versions(server),
        requirements.notes(server),
        interpreter.own_build(),
    )


def look(server: Server, python: str) -> Runtime:
    """An interpreter's version, build, lock and distributions after the server's imports.

    After them, because importing an extension can switch the lock on. Raises CannotRun.
    """
    found = interpreter.look(python, _imports(server), requirements.distributions(server))
    notes = requirements.notes(server, found.version)
    versions = {**found.versions, **backend.versions(server)}
    return Runtime(python, found.version, found.gil, versions, notes, found.build)


def _imports(server: Server) -> list[str]:
    """The import statements at the top level of a server's file."""
    try:
        tree = ast.parse(paths.file_of(server.program).read_bytes())
    except (SyntaxError, ValueError, OSError):
        return []  # the interpreter reports the fault when the server is started
    return [
        ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def _environment(server: Server) -> Path:
    """The interpreter of the server's environment, made first if it is not there."""
    base = _interpreter(server)
    made_of = ((base.path, base.version), sorted(server.dependencies))
    folder = paths.cache() / "environments" / paths.digest(value=made_of)
    python = folder / "bin" / "python"
    if python.exists():
        return python
    if reason := requirements.wrong_libc(server):
        raise CannotRun(reason)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as scratch:
            made = Path(scratch) / "env"
            _uv("venv", "--python", base.path, str(made))
            if server.dependencies:
                _install(server, base, made / "bin" / "python", folder.with_suffix(".log"))
            if not python.exists():  # another session may have made it meanwhile
                made.rename(folder)
    except OSError as error:
        raise CannotRun(
            f"its environment cannot be made: {os_reason(error)} ({folder.parent})"
        ) from None
    return python


def _install(server: Server, base: Interpreter, python: Path, log: Path) -> None:
    """Installs the server's dependencies. Raises CannotRun; the log has all that uv said."""
    try:
        _uv("pip", "install", "--compile-bytecode", "--python", str(python), *server.dependencies)
    except Failed as error:
        lock = "" if base.gil else "t"
        for pattern, words in _CAUSES:
            if found := re.search(pattern, error.output):
                log.write_text(error.output)
                told = words.format(found[1], base.version + lock)
                raise CannotRun(f"{told} (all of it: {paths.hide_home(str(log))})") from None
        raise
    log.unlink(missing_ok=True)


def _interpreter(server: Server) -> Interpreter:
    """The interpreter for the server's environment. Raises CannotRun."""
    if shutil.which("uv", path=interpreter.search_path()) is None:
        remedy = paths.pip_install("uv")
        raise CannotRun(f"an environment of its own is made by uv: {remedy}")
    wanted = SpecifierSet(server.requires_python)
    if server.python:
        found = interpreter.find(server.python)
        if found is None:
            raise CannotRun(f"no interpreter {server.python} on this machine")
    elif server.prefers and (preferred := interpreter.find(server.prefers)):
        found = preferred
    elif wanted.contains(platform.python_version(), prereleases=True):
        found = interpreter.here()
    else:
        found = interpreter.find(server.requires_python)
        if found is None:
            raise CannotRun(f"needs Python {server.requires_python}; none is on this machine")
    if not wanted.contains(found.version, prereleases=True):
        raise CannotRun(f"needs Python {server.requires_python}; {found.path} is {found.version}")
    return found


def _uv(*words: str) -> None:
    interpreter.run(["uv", "--no-config", "--quiet", *words])
