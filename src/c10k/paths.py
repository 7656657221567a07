"""Where the suite's own files are, and where it may keep what it can make again.

In a checkout servers/, clients/ and benchmarks/ stand at the top, beside src/; an
installed wheel carries the same folders inside the package. Nothing else in the
engine knows the difference.

What is published names no home folder: there it stands as ~.
"""

import glob
import os
import re
import shutil
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[1]
SUITE = _CHECKOUT if (_CHECKOUT / "servers").is_dir() else _HERE / "suite"

SERVERS = SUITE / "servers"
CLIENT = SUITE / "clients" / "echo_client.py"
WORKLOADS = SUITE / "benchmarks" / "workloads"
CLAIMS = SUITE / "benchmarks" / "claims"


def name_of(path: Path) -> str:
    """How a session names a file: within the suite relative to it, else absolute or ~/…."""
    path = path.absolute()
    return str(path.relative_to(SUITE)) if path.is_relative_to(SUITE) else hide_home(str(path))


def file_of(name: str) -> Path:
    """The file that name_of() named, here."""
    if name.startswith("~/"):
        return Path.home() / name[2:]
    return SUITE / name  # an absolute name stays what it is


def hide_home(text: str, home: str = "~") -> str:
    """The text with ~, or what home says, for the path of this user's home folder."""
    folder = Path.home()
    if len(folder.parts) < 2:  # the root is everybody's
        return text
    whole = rf"(?<![\w.~-]){re.escape(str(folder))}(?![\w.-])"
    return re.sub(whole, lambda _: home, text)


def sources(name: str) -> list[Path]:
    """The files that a contender is made of: the one that is named and all of its stem."""
    path = file_of(name)
    return sorted(filter(Path.is_file, {path, *path.parent.glob(f"{glob.escape(path.stem)}.*")}))


def pip_install(what: str) -> str:
    """The command that installs something where this runs, and not where a bare pip would."""
    here = Path(sys.executable)
    if shutil.which("pip") == str(here.with_name("pip")):
        return f"pip install {what}"
    near = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    return f"{hide_home(str(near))} -m pip install {what}"


def cache() -> Path:
    """The folder for built servers and remembered checks ($XDG_CACHE_HOME/c10k)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "c10k"
