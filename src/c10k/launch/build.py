"""The command that starts a server; a server in a compiled language is built first."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .. import paths
from ..model import Server
from . import hooked


class NotServing(Exception):
    """The server cannot be built or did not come to serve; the message is the row's reason."""


def command(server: Server, python: str = sys.executable) -> list[str]:
    """The command line that starts a server, which is built first if it has a build command.

    Python gets -P, so that no module beside the file can shadow a library. Raises NotServing.
    """
    if not server.start:
        runs = [Path(hooked.__file__)] if server.hook else []
        runs += map(paths.file_of, filter(None, (server.program, server.hook)))
        return [python, "-P", *map(str, runs)]
    binary = _build(server) if server.build else ""
    return _filled(server.start, server, binary)


def _filled(words: Sequence[str], server: Server, out: str) -> list[str]:
    """A command with its placeholders filled in; {{ and }} are braces, others stay as they are.

    Not str.format, which would let the author of the file read attributes.
    """
    known = {
        "{{": "{",
        "}}": "}",
        "{out}": out,
        "{here}": str(paths.file_of(server.path).parent),
        "{home}": str(Path.home()),
    }
    pattern = "|".join(map(re.escape, known))
    return [re.sub(pattern, lambda found: known[found[0]], word) for word in words]


def _build(server: Server) -> str:
    """The built program in the cache, whose name has a digest of the sources and the command."""
    digest = paths.digest(paths.sources(server.path), server.build)
    folder = paths.cache() / "built"
    binary = folder / f"{server.name}-{digest}"
    if binary.exists():
        return str(binary)
    compiler = server.build[0]
    if shutil.which(compiler) is None:
        raise NotServing(f"no compiler: {compiler} is not on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch) / server.name
        words = _filled(server.build, server, str(out))
        built = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        if built.returncode:
            first = next(iter(built.stderr.splitlines()), f"code {built.returncode}")
            raise NotServing(f"it does not compile: {first}")
        out.replace(binary)  # it is there whole or not at all, also when two build it at once
    return str(binary)
