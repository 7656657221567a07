"""Words → servers: names, @tiers, paths, commands, and what follows an @."""

import difflib
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .. import paths
from ..model import Server
from .catalog import CatalogError, families, find, known, read

_MOST_CHARACTERS = 150  # of a name with overrides: suffixes such as -x8 still fit model.Name
_COMMAND = re.compile(r"(?P<name>\w[\w.-]{0,99})=(?P<command>[^=].*)", re.DOTALL)
# An interpreter by its version, or by one of two words; see launch.interpreter.find().
_INTERPRETER = re.compile(r"(?:(?:python|pypy)?\d+(?:\.\d+)*t?|default|optimised)")
INTERPRETERS = "write a version (3.14t), a path, default or optimised"
_A_PATH = ("/", "~/", "./", "../")  # how the path of an interpreter begins


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

    A word is a name, @TIER, @FOLDER of servers/ (@working), the path of a server file or
    NAME=COMMAND. What follows it after an @ is a requirement that replaces one of its
    dependencies, or an interpreter:
    trio_streams@trio==0.24, @canonical@3.14t, threads_sockets@/usr/bin/python3.
    """
    by_name = {server.name: server for server in catalog}
    chosen: dict[str, Server] = {}
    parts = {word: _parts(word) for word in words(wanted)}
    labels = _labels(each for _, overrides in parts.values() for each in overrides)
    for word, (base, overrides) in parts.items():
        for server in _servers_of(base, by_name):
            found = _overridden(server, overrides, labels)
            if chosen.setdefault(found.name, found) != found:
                raise CatalogError(
                    f"{word}: {chosen[found.name].path} has the name {found.name!r}, too; "
                    "rename one of the two"
                )
    if not chosen:
        raise CatalogError("name at least one server; c10k list shows them")
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


def _servers_of(word: str, by_name: Mapping[str, Server]) -> list[Server]:
    if word.startswith("@"):
        return _group(word[1:], by_name)
    if word in by_name:
        return [by_name[word]]
    if match := _COMMAND.fullmatch(word):
        return [_program(match["name"], match["command"])]
    if "/" in word or word.endswith((".py", ".toml")):
        return [read(Path(word))]
    near = difflib.get_close_matches(word, by_name, cutoff=0.4)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise CatalogError(f"there is no server {word!r}; {meant}c10k list shows the servers")


def _group(name: str, by_name: Mapping[str, Server]) -> list[Server]:
    """The servers of a tier, or of a folder of servers/."""
    tier = [server for server in by_name.values() if server.tier == name]
    if tier:
        return tier
    folders = families()
    if name in folders:
        return list(find(folders[name]))
    known = sorted({server.tier for server in by_name.values()} | folders.keys())
    raise CatalogError(f"there is no tier '@{name}'; choose from @{', @'.join(known)}")


def _program(name: str, command: str) -> Server:
    """Any program that adopts standard input; its files get absolute paths, since it is started
    in another folder."""
    try:
        first, *rest = shlex.split(command)
    except ValueError as error:
        raise CatalogError(
            f"{name}={command}: the command cannot be split into words: {str(error).lower()}"
        ) from None
    found = shutil.which(first)
    if found is None:
        raise CatalogError(f"{name}={command}: there is no program {first!r} here or on PATH")
    files = {each: Path(each).absolute() for each in rest if _is_file(each)}
    start = [str(Path(found).absolute()), *(str(files.get(each, each)) for each in rest)]
    return Server(
        name=name,
        path=paths.name_of(next(iter(files.values()), Path(found))),
        title=name,
        model="not known",
        unit="not known",
        tier="variant",
        start=tuple(map(_portable, start)),
    )


def _portable(word: str) -> str:
    """A word of a command as launch.command() reads it: {{ for {, {home} for the home folder."""
    return paths.hide_home(word.replace("{", "{{").replace("}", "}}"), "{home}")


def is_interpreter(word: str) -> bool:
    """Whether a word names an interpreter: by its version, its path, or as default, optimised."""
    return word.startswith(_A_PATH) or _INTERPRETER.fullmatch(word) is not None


def _labels(words: Iterable[str]) -> dict[str, str]:
    """What servers are called on each of these interpreters; other words are left out.

    A version stays what it is. A path becomes its last two parts without bin, or all of them
    where two paths end alike: /opt/one/bin/python3 → one-python3.
    """
    known = [word for word in dict.fromkeys(words) if is_interpreter(word)]
    parts = {
        word: paths.hide_home(_absolute(word)).strip("/").split("/")
        for word in known
        if word.startswith(_A_PATH)
    }
    short = {
        word: "-".join([part for part in whole if part != "bin"][-2:])
        for word, whole in parts.items()
    }
    often = Counter(short.values())
    return {
        word: word
        if word not in parts
        else short[word]
        if often[short[word]] == 1
        else "-".join(parts[word])
        for word in known
    }


def _absolute(word: str) -> str:
    return str(Path(word).expanduser().absolute())


def _on(server: Server, word: str) -> Server:
    """The server in an environment that is made with the interpreter that a word names."""
    if not word.startswith(_A_PATH):
        return replace(server, python=word, isolated=True)
    if not Path(_absolute(word)).is_file():
        raise CatalogError(f"{word}: there is no such interpreter; give the path of its program")
    return replace(server, python=paths.hide_home(_absolute(word)), isolated=True)


def on_each(servers: Iterable[Server], pythons: Sequence[str]) -> tuple[Server, ...]:
    """Each server on each of these interpreters, as NAME@INTERPRETER; on one, its name stays.

    A server in another language is entered once. One that already has an interpreter keeps it.
    """
    labels = _labels(pythons)
    for word in pythons:
        if word not in labels:
            raise CatalogError(f"{word!r} is not an interpreter; {INTERPRETERS}")
    found: dict[str, Server] = {}
    for server in servers:
        fixed = server.start or server.python
        for word in pythons[:1] if fixed else pythons:
            one = replace(server, isolated=not server.start) if fixed else _on(server, word)
            if not fixed and len(pythons) > 1:
                label = labels[word]
                one = replace(one, name=f"{server.name}@{label}", interpreter=label)
            found[one.name] = one
    return tuple(found.values())


def _overridden(server: Server, overrides: Sequence[str], labels: Mapping[str, str]) -> Server:
    """The server in an environment of its own, with other versions or another interpreter."""
    for override in overrides:
        name = f"{server.name}@{labels.get(override, override)}"
        if server.start:
            raise CatalogError(
                f"{name}: only Python servers can take another version or interpreter"
            )
        if len(name) > _MOST_CHARACTERS or not name.isprintable():
            raise CatalogError(
                f"{name[:200]!r} cannot name a server: use up to {_MOST_CHARACTERS} characters, "
                "all printable"
            )
        if is_interpreter(override):
            changed = replace(_on(server, override), interpreter=labels[override])
        else:
            changed = _with_requirement(server, override)
        if "/" in name:
            raise CatalogError(f"{name} cannot name a server: it is part of file names and has a /")
        server = replace(changed, name=name, isolated=True)
    return server


def _with_requirement(server: Server, override: str) -> Server:
    try:
        wanted = Requirement(override)
    except InvalidRequirement:
        raise CatalogError(
            f"{server.name}@{override}: is neither a version nor an interpreter; write "
            "NAME@DISTRIBUTION==VERSION, NAME@3.13 or NAME@/path/to/python"
        ) from None
    if wanted.url:
        raise CatalogError(f"{server.name}@{override}: a URL is not a version")
    names = [canonicalize_name(Requirement(each).name) for each in server.dependencies]
    if canonicalize_name(wanted.name) not in names:
        known = ", ".join(names) or "nothing"
        raise CatalogError(
            f"{server.name}@{override}: {server.name} depends on {known}, not on {wanted.name}; "
            "an interpreter is written as a version (3.14t), a path, default or optimised"
        )
    at = names.index(canonicalize_name(wanted.name))
    others = (*server.dependencies[:at], str(wanted), *server.dependencies[at + 1 :])
    return replace(server, dependencies=others)


def isolated(servers: Iterable[Server]) -> tuple[Server, ...]:
    """Each Python server in an environment of its own."""
    return tuple(each if each.start else replace(each, isolated=True) for each in servers)


def untrusted_commands(servers: Iterable[Server]) -> list[str]:
    """The commands of servers that are neither the suite's nor a plug-in's, a line per server.

    A session's plan may name any program as a server: whoever resumes it must see what would run.
    """
    ours = [server for folder in families().values() for server in find(folder)]
    here = {server.path: server for server in (*known().servers, *ours)}
    return [
        f"{server.name}: {'; '.join(_commands(server))}"
        for server in servers
        if not _as_known(server, here.get(server.path))
    ]


def _as_known(server: Server, known: Server | None) -> bool:
    """Whether nothing is run for it but the known server, on an interpreter of this machine."""
    if known is None or server.python.startswith(_A_PATH):
        return False
    own = replace(server, dependencies=known.dependencies) if not server.isolated else server
    return (own.files, own.dependencies, own.build, own.start) == (
        known.files,
        known.dependencies,
        known.build,
        known.start,
    )


def _commands(server: Server) -> list[str]:
    """The commands that are run for a server, in order."""
    installed = ["install", *server.dependencies] if server.isolated else []
    run = filter(None, (server.program, server.hook))
    started = server.start or (server.python or "python", *run)
    return [shlex.join(words) for words in (installed, server.build, started) if words]
