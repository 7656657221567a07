"""What a server runs on: this interpreter, or an environment of its own.

For an isolated server uv makes an environment from its PEP 723 block, with its dependencies
and the interpreter that the user asked for, that the server prefers, or that its
requires-python allows. Environments are kept in the cache, named by a digest of interpreter
and requirements, so only the first session waits for them.
"""

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from .. import paths
from ..errors import UserError, os_reason
from ..model import Runtime, Server
from . import build, requirements

_TIMEOUT_S = 600.0  # for making one environment, with its downloads
_REASON_CHARACTERS = 400
# Run by the interpreter in question: executes the server's imports, then reports versions.
_LOOK = """
import json, platform, sys
from importlib import metadata
imports, names = json.loads(sys.argv[1])
for line in imports:
    try:
        exec(line, {})
    except BaseException:
        pass
versions = {}
for name in names:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print(json.dumps([platform.python_version(), gil, versions]))
"""


class CannotRun(UserError):
    """The server cannot run here; the message is the reason in its rows."""


def prepare(server: Server) -> Runtime:
    """What this server will run on: its build or environment is made first. Raises CannotRun."""
    if server.start:
        if reason := requirements.why_not_runnable(server):
            raise CannotRun(reason)
        try:
            build.command(server)  # builds it
        except (build.NotServing, OSError) as error:
            raise CannotRun(str(error)) from None
        return Runtime("", notes=requirements.notes(server))
    if server.isolated:
        return look(server, str(_environment(server)))
    if reason := requirements.why_not_runnable(server):
        raise CannotRun(reason)
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return look(server, sys.executable)
    here = platform.python_version()
    return Runtime(
        sys.executable, here, True, requirements.versions(server), requirements.notes(server)
    )


def look(server: Server, python: str) -> Runtime:
    """An interpreter's version, lock and distributions after the server's imports.

    After them, because importing an extension can switch the lock on. Raises CannotRun.
    """
    asked = json.dumps([_imports(server), sorted(requirements.distributions(server))])
    try:
        done = _run([python, "-P", "-c", _LOOK, asked])
        version, gil, versions = json.loads(done.splitlines()[-1])
    except (ValueError, IndexError):
        raise CannotRun(f"{python} does not report its version") from None
    return Runtime(python, version, gil, versions, requirements.notes(server, version))


def _imports(server: Server) -> list[str]:
    """The import statements at the top level of a server's file."""
    try:
        tree = ast.parse(paths.file_of(server.path).read_bytes())
    except (SyntaxError, ValueError, OSError):
        return []  # the interpreter reports the fault when the server is started
    return [
        ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def _environment(server: Server) -> Path:
    """The interpreter of the server's environment, made first if it is not there."""
    base = _interpreter(server)
    made_of = (base, sorted(server.dependencies))
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
            _uv("venv", "--python", base[0], str(made))
            if server.dependencies:
                into = str(made / "bin" / "python")
                _uv("pip", "install", "--compile-bytecode", "--python", into, *server.dependencies)
            if not python.exists():  # another session may have made it meanwhile
                made.rename(folder)
    except OSError as error:
        raise CannotRun(
            f"its environment cannot be made: {os_reason(error)} ({folder.parent})"
        ) from None
    return python


def _interpreter(server: Server) -> tuple[str, str]:
    """Path and version of the interpreter for the server's environment. Raises CannotRun."""
    if shutil.which("uv", path=_path()) is None:
        remedy = paths.pip_install("uv")
        raise CannotRun(f"an environment of its own is made by uv: {remedy}")
    wanted = SpecifierSet(server.requires_python)
    if server.python:
        found = _find(server.python)
        if found is None:
            raise CannotRun(f"no interpreter {server.python} on this machine")
    elif server.prefers and (preferred := _find(server.prefers)):
        found = preferred
    elif wanted.contains(platform.python_version(), prereleases=True):
        found = (sys.executable, platform.python_version())
    else:
        found = _find(server.requires_python)
        if found is None:
            raise CannotRun(f"needs Python {server.requires_python}; none is on this machine")
    if not wanted.contains(found[1], prereleases=True):
        raise CannotRun(f"needs Python {server.requires_python}; {found[0]} is {found[1]}")
    return found


def _find(request: str) -> tuple[str, str] | None:
    """Path and version of an interpreter on this machine, or None.

    request: a path, or what uv understands: 3.13, python3.14t, >=3.12.
    """
    wanted = str(paths.file_of(request)) if request.startswith("~/") else request
    try:
        path = _run(["uv", "--no-config", "python", "find", "--system", wanted]).strip()
        return path, _run([path, "-c", "import platform; print(platform.python_version())"]).strip()
    except CannotRun:
        return None


def _uv(*words: str) -> None:
    _run(["uv", "--no-config", "--quiet", *words])


def _run(words: list[str]) -> str:
    """The output of a command. Raises CannotRun with the command's complaint on one line."""
    environment: dict[str, Any] = {
        **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        "PATH": _path(),
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
    }
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise CannotRun(f"{words[0]} did not end within {_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise CannotRun(f"{words[0]}: {os_reason(error)}") from None
    if done.returncode:
        raise CannotRun(_one_line(done.stderr) or f"{words[0]} failed ({done.returncode})")
    return done.stdout


def _one_line(text: str) -> str:
    """A complaint of uv on one line, without its ornaments, cut to a readable length."""
    words = (word for word in text.split() if word not in ("error:", "cause:", "×", "╰─▶", "│"))
    line = " ".join(words)
    return line if len(line) <= _REASON_CHARACTERS else line[:_REASON_CHARACTERS] + "…"


def _path() -> str:
    """PATH, and before it this interpreter's folder, where uv is, and those of pyenv's Pythons."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    hidden: Iterable[Path] = sorted(pyenv.glob("versions/*/bin"), reverse=True)
    folders = [str(Path(sys.executable).parent), *map(str, hidden)]
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
