"""Where the suite's files are, how they are named in results, and how files are replaced.

In a checkout servers/, clients/ and benchmarks/ are at the top, beside src/; an
installed wheel carries the same folders inside the package. Nothing else in the
engine knows the difference.

Nothing that is published names the user's home folder: it is written as ~.
"""

import glob
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[1]
SUITE = _CHECKOUT if (_CHECKOUT / "servers").is_dir() else _HERE / "suite"

SERVERS = SUITE / "servers"
CLIENT = SUITE / "clients" / "echo_client.py"
INNER_LOOPS = SUITE / "clients" / "inner_loops.c"
WORKLOADS = SUITE / "benchmarks" / "workloads"
CLAIMS = SUITE / "benchmarks" / "claims"


def name_of(path: Path) -> str:
    """How a session names a file: relative to the suite if it is inside, else absolute or ~/…."""
    path = path.absolute()
    return str(path.relative_to(SUITE)) if path.is_relative_to(SUITE) else hide_home(str(path))


def file_of(name: str) -> Path:
    """The file that name_of() named, here."""
    if name.startswith("~/"):
        return Path.home() / name[2:]
    return SUITE / name  # an absolute name stays what it is


def hide_home(text: str, home: str = "~") -> str:
    """The text with ~, or what home says, in place of the path of this user's home folder."""
    folder = Path.home()
    if len(folder.parts) < 2:  # the root says nothing about a user
        return text
    whole = rf"(?<![\w.~-]){re.escape(str(folder))}(?![\w.-])"
    return re.sub(whole, lambda _: home, text)


def sources(*names: str) -> list[Path]:
    """The files that a contender is made of: the named ones and all with their stems."""
    found = set(map(file_of, names))
    for path in tuple(found):
        found |= set(path.parent.glob(f"{glob.escape(path.stem)}.*"))
    return sorted(filter(Path.is_file, found))


def digest(files: Iterable[Path] = (), value: object = None) -> str:
    """16 hexadecimal digits that change with the contents of files or with the value's repr."""
    found = hashlib.sha256(b"" if value is None else repr(value).encode())
    for file in files:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


def replace_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all; it is on disk on return."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def pip_install(what: str) -> str:
    """The command that installs a distribution into the environment that runs this."""
    here = Path(sys.executable)
    if shutil.which("pip") == str(here.with_name("pip")):
        return f"pip install {what}"
    near = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    return f"{hide_home(str(near))} -m pip install {what}"


def cache() -> Path:
    """The folder for built servers and remembered checks ($XDG_CACHE_HOME/c10k)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "c10k"


def interpreters() -> Path:
    """The folder of the interpreters that tools/build_interpreters.py has built."""
    return cache() / "interpreters"
