"""Finds contenders: a file's PEP 723 block, or the .toml beside a program, becomes a Server.

Nothing here imports or runs a contender: what a server is stands in its first lines,
and whether its framework is installed is asked of the installed distributions' metadata.
"""

import hashlib
import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .. import paths
from ..errors import UserError
from ..model import Note, Server, Specified, Tier
from . import toml, values

# The reference implementation's expression, from PEP 723.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

PLUG_INS = "c10k.servers"  # the entry-point group: NAME = "PACKAGE.MODULE"
_NAME = re.compile(r"\w[\w.-]{0,99}")


class CatalogError(UserError):
    """A contender that cannot be read: the message names the file, the key and the remedy."""


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """The [tool.c10k] table as it is written."""

    title: str
    model: str
    unit: str
    tier: Tier
    framework: str = ""
    notes: tuple[Note, ...] = ()
    build: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    prefers: str = msgspec.field(default="", name="python")


class _Tool(msgspec.Struct):
    c10k: _Table | None = None


class _Document(msgspec.Struct, rename="kebab"):
    """What a PEP 723 block or a .toml says: others have tables in it, too."""

    tool: _Tool = msgspec.field(default_factory=_Tool)
    requires_python: Specified = ""
    dependencies: tuple[Specified, ...] = ()


def read(path: Path) -> Server:
    """Reads one contender file (.py with a PEP 723 block, or .toml)."""
    try:
        text = toml.text(path)
        written = toml.toml(_script_block(path, text) if path.suffix == ".py" else text)
        document = values.convert(written, _Document)
    except toml.Unreadable as error:
        raise CatalogError(f"{path}: {error}") from None
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


def _server(path: Path, document: _Document) -> Server:
    if not _NAME.fullmatch(path.stem):
        raise CatalogError(f"{path}: {path.stem!r} is no name for a server: letters, digits, _")
    named = paths.name_of(path)
    if not named.isprintable():
        raise CatalogError(f"{named!r}: a session cannot name this path; move the file")
    table = document.tool.c10k
    if table is None:
        raise CatalogError(f"{path}: tool.c10k: missing; see servers/README.md for its keys")
    server = Server(
        name=path.stem,
        path=named,
        requires_python=document.requires_python,
        dependencies=document.dependencies,
        **msgspec.structs.asdict(table),
    )
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


class Known(NamedTuple):
    """The contenders that have a name here, and what is wrong with plug-ins that have none."""

    servers: tuple[Server, ...]
    faults: tuple[str, ...]


def known() -> Known:
    """The suite's own contenders, then those of plug-ins; the suite's names win."""
    servers = {server.name: server for server in find(paths.SERVERS)}
    faults = []
    for point in sorted(metadata.entry_points(group=PLUG_INS), key=lambda point: point.name):
        try:
            if point.name in servers:
                raise CatalogError(f"{point.name} is {servers[point.name].path} already")
            if not _NAME.fullmatch(point.name):
                raise CatalogError(f"{point.name!r} is no name for a server: letters, digits, _")
            servers[point.name] = replace(read(_file_of(point)), name=point.name)
        except CatalogError as error:
            owner = point.dist.name if point.dist else "unknown distribution"
            faults.append(f"plug-in {owner}: {error}")
    return Known(tuple(servers.values()), tuple(faults))


def _file_of(point: metadata.EntryPoint) -> Path:
    """The file that an entry point PACKAGE.MODULE names, without importing any of it.

    Only the outermost name is looked up, as a lookup of any other imports its package.
    """
    package, *inner = point.module.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError) as error:
        raise CatalogError(f"{point.value}: {error}") from None
    if spec is None:
        raise CatalogError(f"{point.value}: no package is named {package}")
    folders = spec.submodule_search_locations
    if not inner and spec.origin:
        return Path(spec.origin)
    for folder in map(Path, folders or ()):
        for suffix in (".py", ".toml"):
            if (path := folder.joinpath(*inner).with_suffix(suffix)).is_file():
                return path
    raise CatalogError(f"{point.value}: {package} has no file {'/'.join(inner)}.py or .toml")


def code(server: Server) -> str:
    """A digest of the server's files, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for source in paths.sources(server.path):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()[:16]
