"""The command that starts a server, and what is compiled first: servers, the client's loops."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import paths
from ..errors import os_reason
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
    """The server's program, built if it is not in the cache. Raises NotServing."""
    sources = paths.sources(server.path)
    return _built(
        server.name, sources, server.build, lambda out: _filled(server.build, server, out)
    )


def inner_loops() -> str:
    """The client's inner loops in C as a shared library. Raises NotServing where none is built."""
    if sys.platform != "linux":
        raise NotServing("the inner loops in C need epoll, which is Linux")
    compile_ = ("cc", "-O2", "-shared", "-fPIC")
    source = paths.INNER_LOOPS
    return _built(source.stem, [source], compile_, lambda out: [*compile_, str(source), "-o", out])


def _built(
    name: str, sources: Sequence[Path], words: Sequence[str], command: Callable[[str], list[str]]
) -> str:
    """The built program in the cache, whose name has a digest of the sources and these words.

    command: what builds it, for the file that it is to write. Raises NotServing.
    """
    digest = paths.digest(sources, words)
    folder = paths.cache() / "built"
    binary = folder / f"{name}-{digest}"
    if binary.exists():
        return str(binary)
    compiler = words[0]
    if shutil.which(compiler) is None:
        raise NotServing(f"no compiler: {compiler} is not on PATH")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            out = Path(scratch) / name
            built = subprocess.run(
                command(str(out)), capture_output=True, text=True, errors="replace", check=False
            )
            if built.returncode:
                first = next(iter(built.stderr.splitlines()), f"code {built.returncode}")
                raise NotServing(f"it does not compile: {first}")
            out.replace(binary)  # it is there whole or not at all, also when two build it at once
    except OSError as error:
        raise NotServing(f"it cannot be built in {folder}: {os_reason(error)}") from None
    return str(binary)
