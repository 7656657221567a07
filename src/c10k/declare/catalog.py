"""Finds contenders: a file's PEP 723 block, or the .toml beside a program, becomes a Server.

Nothing here imports or runs a contender: its first lines say what it is.
"""

import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .. import paths
from ..errors import UserError
from ..model import Needs, Note, OneLine, Server, Specified, Tier
from . import toml, values

# The reference implementation's expression, from PEP 723.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

PLUG_INS = "c10k.servers"  # the entry-point group: NAME = "PACKAGE.MODULE"
_NAME = re.compile(r"\w[\w.-]{0,99}")
_NO_NAME = "cannot name a server: use up to 100 letters, digits and _"


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
    free_threaded: bool = False
    glibc: Specified = ""
    io_uring: Specified = ""
    reuseport: bool = False
    needs: Needs = ""
    tls: bool = False


class _Derived(msgspec.Struct, forbid_unknown_fields=True):
    """The table of a server that is another one with a hook."""

    title: str
    tier: Tier
    base: OneLine
    hook: OneLine


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
        if path.suffix != ".py" and (table := _table_with_base(written)):
            return _derived(path, table)
        document = values.convert(written, _Document)
    except toml.Unreadable as error:
        raise CatalogError(f"{path}: {error}") from None
    return _server(path, document)


def _table_with_base(written: dict[str, Any]) -> dict[str, Any]:
    """The table of a server that has a base; {} of any other."""
    tool = written.get("tool")
    table = tool.get("c10k") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) and "base" in table else {}


def _derived(path: Path, table: dict[str, Any]) -> Server:
    """The base under this file's name, title and tier, with the hook. Raises Unreadable."""
    name, named = _name(path)
    try:
        own = values.convert(table, _Derived)
    except toml.Unreadable as error:
        raise toml.Unreadable(f"tool.c10k.{error}") from None
    for key, file in (("base", own.base), ("hook", own.hook)):
        if not file.endswith(".py"):
            raise toml.Unreadable(f"tool.c10k.{key}: must be a Python file, not {file!r}")
        try:
            toml.text(path.parent / file)
        except toml.Unreadable as error:
            raise toml.Unreadable(f"tool.c10k.{key}: {file}: {error}") from None
    base = read(path.parent / own.base)
    return replace(
        base,
        name=name,
        path=named,
        title=own.title,
        tier=own.tier,
        base=base.path,
        hook=paths.name_of(path.parent / own.hook),
    )


def _script_block(path: Path, text: str) -> str:
    blocks = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) != 1:
        raise CatalogError(
            f"{path}: has {len(blocks) or 'no'} PEP 723 blocks; a server file opens with exactly "
            "one '# /// script' block, with a [tool.c10k] table (see servers/README.md)"
        )
    lines = blocks[0]["content"].splitlines()
    return "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)


def _name(path: Path) -> tuple[str, str]:
    """What a server is called, and how a session names its file."""
    if not _NAME.fullmatch(path.stem):
        raise CatalogError(f"{path}: {path.stem!r} {_NO_NAME}")
    named = paths.name_of(path)
    if not named.isprintable():
        raise CatalogError(
            f"{named!r}: the path has characters that cannot be printed; rename or move the file"
        )
    return path.stem, named


def _server(path: Path, document: _Document) -> Server:
    name, named = _name(path)
    table = document.tool.c10k
    if table is None:
        raise CatalogError(f"{path}: tool.c10k: missing; servers/README.md lists its keys")
    server = Server(
        name=name,
        path=named,
        requires_python=document.requires_python,
        dependencies=document.dependencies,
        **msgspec.structs.asdict(table),
    )
    _check_specifiers(path, server)
    if path.suffix != ".py" and not server.start:
        raise CatalogError(
            f"{path}: tool.c10k.start: missing; give the command that starts the program"
        )
    return server


def _check_specifiers(path: Path, server: Server) -> None:
    ranges = {f"tool.c10k.notes[{n}].python": each.python for n, each in enumerate(server.notes)}
    ranges |= {
        "requires-python": server.requires_python,
        "tool.c10k.glibc": server.glibc,
        "tool.c10k.io_uring": server.io_uring,
    }
    for key, written in ranges.items():
        try:
            SpecifierSet(written)
        except InvalidSpecifier:
            raise CatalogError(
                f"{path}: {key}: {written!r} is not a range of versions, such as '>=3.11'"
            ) from None
    for number, written in enumerate(server.dependencies):
        try:
            Requirement(written)
        except InvalidRequirement:
            raise CatalogError(
                f"{path}: dependencies[{number}]: {written!r} is not a requirement, such as "
                "'trio>=0.27'"
            ) from None


def find(folder: Path) -> tuple[Server, ...]:
    """Every contender in a folder, by name."""
    files = [*folder.glob("*.py"), *folder.glob("*.toml")]
    return tuple(read(path) for path in sorted(files, key=lambda path: path.stem))


def families() -> dict[str, Path]:
    """The folders of servers/ with contenders of one purpose each: name → folder."""
    return {
        folder.name: folder
        for folder in sorted(paths.SERVERS.iterdir())
        if folder.is_dir() and any(map(_is_server, folder.glob("*.py")))
    }


def _is_server(path: Path) -> bool:
    """Whether a file has a server's block; a hook has none."""
    return _BLOCK.search(path.read_text(encoding="utf-8")) is not None


# Whose servers are named without a path.
FOLDERS = (paths.SERVERS, paths.SERVERS / "backend", paths.SERVERS / "tls")


class Known(NamedTuple):
    """The contenders that can be named, and what is wrong with plug-ins that cannot."""

    servers: tuple[Server, ...]
    faults: tuple[str, ...]


def known() -> Known:
    """The suite's own contenders, then those of plug-ins; on a clash the suite's stays."""
    own = [server for folder in FOLDERS for server in find(folder)]
    servers = {server.name: server for server in own}
    faults = []
    for point in sorted(metadata.entry_points(group=PLUG_INS), key=lambda point: point.name):
        try:
            if point.name in servers:
                raise CatalogError(f"the name {point.name} is taken by {servers[point.name].path}")
            if not _NAME.fullmatch(point.name):
                raise CatalogError(f"{point.name!r} {_NO_NAME}")
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
        raise CatalogError(f"{point.value}: there is no package {package}")
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
    return paths.digest(paths.sources(*server.files))
