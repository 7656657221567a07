"""Finds contenders: a file's PEP 723 block, or the .toml beside a program, becomes a Server.

Nothing here imports or runs a contender: what a server is stands in its first lines,
and whether its framework is installed is asked of the installed distributions' metadata.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from . import places
from .model import Server

# The reference implementation's expression, from PEP 723.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class CatalogError(Exception):
    """A contender that cannot be read: the message names the file, the key and the remedy."""


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """The [tool.c10k] table as it is written."""

    title: str
    model: str
    unit: str
    tier: str
    framework: str = ""
    notes: tuple[dict[str, str], ...] = ()
    build: tuple[str, ...] = ()
    start: tuple[str, ...] = ()


def read(path: Path) -> Server:
    """Reads one contender file (.py with a PEP 723 block, or .toml)."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise CatalogError(f"{path}: not UTF-8 text, so not a server file") from None
    if path.suffix == ".py":
        text = _script_block(path, text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{path}: the TOML does not parse: {error}") from None
    return _server(path, document)


def _script_block(path: Path, text: str) -> str:
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) != 1:
        found = "no" if not blocks else f"{len(blocks)}"
        raise CatalogError(
            f"{path}: {found} PEP 723 blocks; a server opens with one '# /// script' block "
            "that holds [tool.c10k] (see servers/README.md)"
        )
    lines = blocks[0]["content"].splitlines()
    return "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)


def _server(path: Path, document: dict[str, Any]) -> Server:
    tool = document.get("tool")
    table = tool.get("c10k") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise CatalogError(f"{path}: tool.c10k: missing; see servers/README.md for its keys")
    try:
        fields = msgspec.to_builtins(msgspec.convert(table, _Table))
        server = msgspec.convert(
            {
                **fields,
                "name": path.stem,
                "path": places.name_of(path),
                "requires_python": document.get("requires-python", ""),
                "dependencies": document.get("dependencies", []),
            },
            Server,
        )
    except msgspec.ValidationError as error:
        raise CatalogError(f"{path}: tool.c10k: {error}") from None
    _check_specifiers(path, server)
    if path.suffix != ".py" and not server.start:
        raise CatalogError(f"{path}: tool.c10k.start: missing; say how the program is started")
    return server


def _check_specifiers(path: Path, server: Server) -> None:
    try:
        SpecifierSet(server.requires_python)
        for note in server.notes:
            SpecifierSet(note.python)
        for dependency in server.dependencies:
            Requirement(dependency)
    except (InvalidSpecifier, InvalidRequirement) as error:
        raise CatalogError(f"{path}: {error}") from None


def find(folder: Path) -> tuple[Server, ...]:
    """Every contender in a folder, by name."""
    files = [*folder.glob("*.py"), *folder.glob("*.toml")]
    return tuple(read(path) for path in sorted(files, key=lambda path: path.stem))


def choose(wanted: Iterable[str], catalog: Iterable[Server]) -> tuple[Server, ...]:
    """The servers that names, @tiers and paths stand for, each once, in the order given."""
    by_name = {server.name: server for server in catalog}
    chosen: dict[str, Server] = {}
    for word in wanted:
        if word.startswith("@"):
            tier = [server for server in by_name.values() if server.tier == word[1:]]
            if not tier:
                tiers = ", ".join(sorted({f"@{server.tier}" for server in by_name.values()}))
                raise CatalogError(f"no server is in tier {word!r}; there are {tiers}")
            chosen.update((server.name, server) for server in tier)
        elif word in by_name:
            chosen[word] = by_name[word]
        elif "/" in word or word.endswith((".py", ".toml")):
            server = read(Path(word))
            chosen[server.name] = server
        else:
            known = ", ".join(by_name)
            raise CatalogError(f"no server is named {word!r}; there are {known} (c10k list)")
    return tuple(chosen.values())


def why_not(server: Server) -> str:
    """Why this server cannot run on this interpreter, with what to do; "" when it can."""
    here = "{}.{}.{}".format(*sys.version_info[:3])
    if not SpecifierSet(server.requires_python).contains(here, prereleases=True):
        return f"needs Python {server.requires_python}; this is {here}"
    for dependency in map(Requirement, server.dependencies):
        if dependency.marker and not dependency.marker.evaluate():
            continue
        try:
            installed = metadata.version(dependency.name)
        except metadata.PackageNotFoundError:
            return f"{dependency.name} is not installed: pip install '{dependency}'"
        if not dependency.specifier.contains(installed, prereleases=True):
            return f"{dependency.name} {installed} is installed: pip install '{dependency}'"
    return ""


def versions(server: Server) -> dict[str, str]:
    """The installed version of the framework and of each dependency, by distribution name."""
    names = {Requirement(dependency).name for dependency in server.dependencies}
    names |= {server.framework} - {""}
    found = {}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def notes(server: Server) -> tuple[str, ...]:
    """The remarks that apply on this interpreter."""
    here = "{}.{}.{}".format(*sys.version_info[:3])
    return tuple(
        note.text
        for note in server.notes
        if SpecifierSet(note.python).contains(here, prereleases=True)
    )
