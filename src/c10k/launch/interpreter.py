"""An interpreter on this machine: how it is found, and how it was built."""

import functools
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .. import paths
from ..errors import UserError, os_reason

_REASON_CHARACTERS = 400
TIMEOUT_S = 600.0  # for one command, such as one that makes an environment and downloads for it
DEFAULT, OPTIMISED = "default", "optimised"  # the interpreter that runs the suite, and a fast one
PGO, LTO = "--enable-optimizations", "--with-lto"
_OLDEST = (3, 11)
# Run by the interpreter in question: executes a server's imports, then reports about itself.
_LOOK = """
import json, platform, sys, sysconfig
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
told = {
    "version": platform.python_version(),
    "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    "versions": versions,
    "configured": sysconfig.get_config_var("CONFIG_ARGS") or "",
    "compiled": sysconfig.get_config_var("PY_CFLAGS") or "",
    "debian": "deb_system" in sysconfig.get_scheme_names(),
}
print(json.dumps(told))
"""


class CannotRun(UserError):
    """The server cannot run here; the message is the reason in its rows."""


class Failed(CannotRun):
    """A command failed. The message is its complaint on one line; output is all that it said."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason)
        self.output = output


class Interpreter(NamedTuple):
    """An interpreter, and what it says of itself after it has executed a server's imports."""

    path: str
    version: str
    gil: bool  # whether its lock is on
    build: tuple[str, ...]  # see build_flags()
    versions: dict[str, str]  # of the distributions that were asked for

    @property
    def program(self) -> str:
        """The file that is executed: two names of one interpreter have the same."""
        return os.path.realpath(self.path)

    @property
    def optimised(self) -> bool:
        return PGO in self.build


def look(
    python: str, imports: Iterable[str] = (), distributions: Iterable[str] = ()
) -> Interpreter:
    """What an interpreter says of itself. Raises CannotRun.

    imports: statements that it executes first, because importing an extension can switch the
    lock on. distributions: those whose versions are wanted.
    """
    asked = json.dumps([list(imports), sorted(distributions)])
    try:
        told = json.loads(run([python, "-P", "-c", _LOOK, asked]).splitlines()[-1])
        build = build_flags(told["configured"], told["compiled"], told["debian"])
        return Interpreter(python, told["version"], told["gil"], build, told["versions"])
    except (ValueError, LookupError, TypeError):
        raise CannotRun(f"{python} does not report its version") from None


def build_flags(configured: str, compiled: str, debian: bool) -> tuple[str, ...]:
    """The options of an interpreter's build that affect its speed; others name paths.

    configured, compiled: CONFIG_ARGS and PY_CFLAGS of its sysconfig. debian: whether Debian
    built it, which optimises, and removes the options that show it from the configuration.
    """
    flags = re.findall(
        r"--(?:enable-optimizations|with-lto|disable-gil|with-pydebug|enable-bolt|with-tail-call-interp"
        r"|enable-experimental-jit)\b(?:=\w+)?",
        configured,
    )
    flags += re.findall(r"(?<!\S)(?:-O\w+|-flto\S*|-march=\S+|-DNDEBUG)(?!\S)", compiled)
    flags += [PGO, LTO] if debian else []
    return tuple(sorted(set(flags)))


def own_build() -> tuple[str, ...]:
    """The build flags of the interpreter that runs this."""
    return build_flags(
        sysconfig.get_config_var("CONFIG_ARGS") or "",
        sysconfig.get_config_var("PY_CFLAGS") or "",
        "deb_system" in sysconfig.get_scheme_names(),
    )


def here() -> Interpreter:
    """The interpreter that runs this, as it is before anything is imported."""
    gil = not sysconfig.get_config_var("Py_GIL_DISABLED")
    return Interpreter(sys.executable, platform.python_version(), gil, own_build(), {})


def find(request: str) -> Interpreter | None:
    """An interpreter on this machine, or None.

    request: a path; `default`, the one that runs this; `optimised`, one that was built with
    profile-guided optimisation; or what uv understands: 3.13, 3.14t, python3.14t, >=3.12.
    """
    if request == DEFAULT:
        return here()
    if request == OPTIMISED:
        return find_optimised()
    return _found(request, search_path())


@functools.cache
def _found(request: str, _search_path: str) -> Interpreter | None:
    """Asks once for each request: every server of a session names its interpreter again."""
    try:
        return look(_path_of(request))
    except CannotRun:
        return None


def missing(request: str) -> str:
    """What to say where find() finds none."""
    if "/" in request:
        return "there is no Python interpreter at this path"
    if request == OPTIMISED:
        return "no interpreter on this machine is known to be built with optimisation"
    version = re.search(r"\d+(?:\.\d+)*t?", request)
    remedy = f" on this machine; get it by: uv python install {version[0]}" if version else ""
    return f"there is no such interpreter{remedy}"


def find_optimised() -> Interpreter | None:
    """An optimised interpreter with a lock: of this version if there is one, else the newest."""
    here = sys.version_info[:2]
    found = [each for each in _installed() if each.optimised and each.gil]
    return max(
        found,
        key=lambda each: (_release(each)[:2] == here, _release(each)),
        default=None,
    )


def _release(interpreter: Interpreter) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", interpreter.version)[:3]))


def _installed() -> Iterator[Interpreter]:
    """The interpreters on this machine's path and in the usual folders, that the suite can use."""
    seen = set()
    for folder in search_path().split(os.pathsep):
        for path in sorted(Path(folder).glob("python3.*")):
            real = os.path.realpath(path)
            named = re.fullmatch(r"python3\.(\d+)t?", path.name)
            if not named or real in seen or (3, int(named[1])) < _OLDEST:
                continue
            seen.add(real)
            try:
                yield look(str(path))
            except CannotRun:
                continue  # a name without an interpreter behind it, such as pyenv's shims


def _path_of(request: str) -> str:
    """The path of the interpreter that a request names. Raises CannotRun."""
    wanted = str(paths.file_of(request)) if request.startswith("~/") else request
    if "/" in wanted:
        return wanted
    return run(["uv", "--no-config", "python", "find", "--system", "--", wanted]).strip()


def run(words: list[str]) -> str:
    """The output of a command. Raises Failed."""
    environment: dict[str, Any] = {
        **{key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"},
        "PATH": search_path(),
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
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{words[0]} did not end within {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise Failed(f"{words[0]}: {os_reason(error)}") from None
    if done.returncode:
        complaint = _one_line(done.stderr) or f"{words[0]} failed ({done.returncode})"
        raise Failed(complaint, done.stderr)
    return done.stdout


def _one_line(text: str) -> str:
    """A complaint of uv on one line, without its ornaments, cut to a readable length."""
    words = (word for word in text.split() if word not in ("error:", "cause:", "×", "╰─▶", "│"))
    line = " ".join(words)
    return line if len(line) <= _REASON_CHARACTERS else line[:_REASON_CHARACTERS] + "…"


def search_path() -> str:
    """PATH, and before it the folders of interpreters that it may lack or hide.

    They are this interpreter's, where uv is, those that tools/build_interpreters.py has built,
    and those of pyenv, whose shims on PATH often name nothing.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [
        str(Path(sys.executable).parent),
        # Those with the lock first: a build without it has the plain names as well.
        *map(str, sorted(paths.interpreters().glob("*[0-9]/bin"), reverse=True)),
        *map(str, sorted(paths.interpreters().glob("*[0-9]t/bin"), reverse=True)),
        *map(str, sorted(pyenv.glob("versions/*/bin"), reverse=True)),
    ]
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
