"""Finds contenders: a file's PEP 723 block, or the .toml beside a program, becomes a Server.

Nothing here imports or runs a contender: what a server is stands in its first lines,
and whether its framework is installed is asked of the installed distributions' metadata.
"""

import hashlib
import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from . import places, reading
from .model import Server

# The reference implementation's expression, from PEP 723.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

PLUG_INS = "c10k.servers"  # the entry-point group: NAME = "PACKAGE.MODULE"
_NAME = re.compile(r"\w[\w.-]{0,99}")
_MOST_CHARACTERS = 150  # of a name with overrides; what it gets besides fits model.Name
_COMMAND = re.compile(r"(?P<name>\w[\w.-]{0,99})=(?P<command>[^=].*)", re.DOTALL)
_INTERPRETER = re.compile(r"(?:python|pypy)\d+(?:\.\d+)*t?")
_PACKAGES = {"cc": "gcc", "go": "golang-go", "node": "nodejs"}  # program → Debian's name for it


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
    python: str = ""


def read(path: Path) -> Server:
    """Reads one contender file (.py with a PEP 723 block, or .toml)."""
    try:
        text = reading.text(path)
        document = reading.toml(_script_block(path, text) if path.suffix == ".py" else text)
    except reading.Unreadable as error:
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


def _server(path: Path, document: dict[str, Any]) -> Server:
    if not _NAME.fullmatch(path.stem):
        raise CatalogError(f"{path}: {path.stem!r} is no name for a server: letters, digits, _")
    named = places.name_of(path)
    if not named.isprintable():
        raise CatalogError(f"{named!r}: a session cannot name this path; move the file")
    tool = document.get("tool")
    table = tool.get("c10k") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise CatalogError(f"{path}: tool.c10k: missing; see servers/README.md for its keys")
    try:
        fields = msgspec.to_builtins(msgspec.convert(table, _Table))
        prefers = fields.pop("python")
        server = msgspec.convert(
            {
                **fields,
                "prefers": prefers,
                "name": path.stem,
                "path": named,
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


class Known(NamedTuple):
    """The contenders that have a name here, and what is wrong with plug-ins that have none."""

    servers: tuple[Server, ...]
    faults: tuple[str, ...]


def known() -> Known:
    """The suite's own contenders, then those of plug-ins; the suite's names win."""
    servers = {server.name: server for server in find(places.SERVERS)}
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


def words(given: Iterable[str]) -> list[str]:
    """a,b c → a b c; a command (NAME=COMMAND) may hold commas and stays whole."""
    return [
        part
        for word in given
        for part in ([word] if _COMMAND.fullmatch(word) else word.split(","))
        if part
    ]


def choose(wanted: Iterable[str], catalog: Iterable[Server]) -> tuple[Server, ...]:
    """The servers that words stand for, each once, in the order given.

    A word is a name, @TIER, the path of a server file or NAME=COMMAND. What follows it after
    an @ is a requirement that replaces one of its dependencies, or an interpreter:
    trio_streams@trio==0.24, @canonical@python3.14t.
    """
    by_name = {server.name: server for server in catalog}
    chosen: dict[str, Server] = {}
    for word in words(wanted):
        base, overrides = _parts(word)
        for server in _named(base, by_name):
            found = _overridden(server, overrides)
            if chosen.setdefault(found.name, found) != found:
                raise CatalogError(
                    f"{word}: another server is named {found.name!r} already: "
                    f"{chosen[found.name].path}; rename one of the files"
                )
    if not chosen:
        raise CatalogError("no server is named; c10k list shows which there are")
    return tuple(chosen.values())


def _parts(word: str) -> tuple[str, list[str]]:
    """What a word names, and its overrides."""
    if _COMMAND.fullmatch(word) or _is_file(word):
        return word, []
    first, *rest = word.removeprefix("@").split("@")
    return ("@" if word.startswith("@") else "") + first, rest


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError:  # longer than any name
        return False


def _named(word: str, by_name: Mapping[str, Server]) -> list[Server]:
    if word.startswith("@"):
        tier = [server for server in by_name.values() if server.tier == word[1:]]
        if not tier:
            tiers = ", ".join(sorted({f"@{server.tier}" for server in by_name.values()}))
            raise CatalogError(f"no server is in tier {word!r}; there are {tiers}")
        return tier
    if word in by_name:
        return [by_name[word]]
    if match := _COMMAND.fullmatch(word):
        return [_program(match["name"], match["command"])]
    if "/" in word or word.endswith((".py", ".toml")):
        return [read(Path(word))]
    names = ", ".join(by_name)
    raise CatalogError(f"no server is named {word!r}; there are {names} (c10k list)")


def _program(name: str, command: str) -> Server:
    """Any program that adopts standard input. Its files are named from here on, wherever it
    will be started."""
    try:
        first, *rest = shlex.split(command)
    except ValueError as error:
        raise CatalogError(f"{name}={command}: {error}; write NAME=COMMAND") from None
    found = shutil.which(first)
    if found is None:
        raise CatalogError(f"{name}={command}: no program {first!r} is here or on PATH")
    files = {each: Path(each).absolute() for each in rest if _is_file(each)}
    start = [str(Path(found).absolute()), *(str(files.get(each, each)) for each in rest)]
    return Server(
        name=name,
        path=places.name_of(next(iter(files.values()), Path(found))),
        title=name,
        model="not known",
        unit="not known",
        tier="variant",
        start=tuple(map(_portable, start)),
    )


def _portable(word: str) -> str:
    """A word of a command as launch.command() reads it: {{ for {, {home} for the home folder."""
    return places.homeless(word.replace("{", "{{").replace("}", "}}"), "{home}")


def _overridden(server: Server, overrides: Sequence[str]) -> Server:
    """The server in an environment of its own, with other versions or another interpreter."""
    for override in overrides:
        name = f"{server.name}@{override}"
        if server.start:
            raise CatalogError(f"{name}: it is no Python server")
        if len(name) > _MOST_CHARACTERS or not name.isprintable():
            raise CatalogError(f"{name[:200]!r}: no name of {_MOST_CHARACTERS} characters or less")
        if _INTERPRETER.fullmatch(override):
            changed = replace(server, python=override)
        else:
            changed = _with_requirement(server, override)
        if "/" in name:
            raise CatalogError(f"{name}: no name: a file's cannot hold a /")
        server = replace(changed, name=name, isolated=True)
    return server


def _with_requirement(server: Server, override: str) -> Server:
    try:
        wanted = Requirement(override)
    except InvalidRequirement:
        raise CatalogError(
            f"{server.name}@{override}: write NAME@DISTRIBUTION==VERSION or NAME@python3.13"
        ) from None
    if wanted.url:
        raise CatalogError(f"{server.name}@{override}: an address is no version")
    names = [canonicalize_name(Requirement(each).name) for each in server.dependencies]
    if canonicalize_name(wanted.name) not in names:
        known = ", ".join(names) or "nothing"
        raise CatalogError(f"{server.name}@{override}: it depends on {known}, not {wanted.name}")
    at = names.index(canonicalize_name(wanted.name))
    others = (*server.dependencies[:at], str(wanted), *server.dependencies[at + 1 :])
    return replace(server, dependencies=others)


def isolated(servers: Iterable[Server], python: str = "") -> tuple[Server, ...]:
    """Python servers with an environment of their own each, made with python where given."""
    python = places.homeless(python)
    return tuple(
        each if each.start else replace(each, isolated=True, python=each.python or python)
        for each in servers
    )


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
            state = "is not installed"
        else:
            if dependency.specifier.contains(installed, prereleases=True):
                continue
            state = f"{installed} is installed"
        remedy = places.pip_install(f"'{dependency}'")
        return f"{dependency.name} {state}: {remedy}"
    for what, words in (("compiler", server.build), ("program", server.start)):
        if words and "{" not in words[0] and shutil.which(words[0]) is None:
            package = _PACKAGES.get(words[0], words[0])
            return f"no {what}: {words[0]} is not on PATH (apt-get install {package})"
    return ""


def code(server: Server) -> str:
    """A digest of the server's files, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for source in places.sources(server.path):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()[:16]


def foreign(servers: Iterable[Server]) -> list[str]:
    """What would run for these servers and is not the suite's or a plug-in's, a line each.

    A session's plan may name any program as a server; a person must see which.
    """
    here = {server.path: _commands(server) for server in known().servers}
    found = {server: _commands(server) for server in servers}
    return [
        f"{server.name}: {'; '.join(commands)}"
        for server, commands in found.items()
        if commands != here.get(server.path)
    ]


def _commands(server: Server) -> list[str]:
    """What is run for a server, in the order in which it is."""
    installed = ["install", *server.dependencies] if server.isolated else []
    started = server.start or (server.python or "python", server.path)
    return [shlex.join(words) for words in (installed, server.build, started) if words]


def distributions(server: Server) -> set[str]:
    """The distributions whose versions a row records: the framework and each dependency."""
    names = {Requirement(dependency).name for dependency in server.dependencies}
    return names | {server.framework} - {""}


def versions(server: Server) -> dict[str, str]:
    """The installed version of each of its distributions, by name."""
    found = {}
    for name in sorted(distributions(server)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def notes(server: Server, python: str = "") -> tuple[str, ...]:
    """The remarks that apply on an interpreter of this version; without one, on this one."""
    version = python or "{}.{}.{}".format(*sys.version_info[:3])
    return tuple(
        note.text
        for note in server.notes
        if SpecifierSet(note.python).contains(version, prereleases=True)
    )
