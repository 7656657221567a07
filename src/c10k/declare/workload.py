"""TOML → Workload, every error named with file and key.

A workload declares which servers meet which loads, in how many blocks. A [[load]]
table may give a list for `clients`, `message_bytes` and `depth`; each combination is a
load of its own.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UserError
from ..model import Arrivals, BoundedFloat, BoundedInt, Kind, Load, Search, Sharing, Workload
from . import toml

MOST_LOADS = 1000
P99_MESSAGES = 10_000  # that leave 100 beyond a p99
MOST_CELLS = 20_000  # blocks × loads, of each server


class WorkloadError(UserError):
    """A workload that cannot be used; the message names the file and the key."""


class _LoadTable(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind
    clients: BoundedInt | list[BoundedInt]
    message_bytes: BoundedInt | list[BoundedInt] = 64
    depth: BoundedInt | list[BoundedInt] = 1
    rate: BoundedFloat | list[BoundedFloat] = 0.0
    arrivals: Arrivals = ""
    warmup_s: BoundedFloat = 0.5
    duration_s: BoundedFloat = 2.0
    ceiling_s: BoundedFloat = 60.0


class _SearchTable(msgspec.Struct, forbid_unknown_fields=True):
    least: BoundedInt
    most: BoundedInt
    p99_ms: BoundedFloat = 100.0
    within: BoundedFloat = 0.01


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    servers: list[str]
    load: list[_LoadTable]
    blocks: BoundedInt = 5
    reference: str = ""
    control: bool = True
    repeats: BoundedInt = 2
    connecting: BoundedInt = 128
    connect_timeout_s: BoundedFloat = 15.0
    drain_s: BoundedFloat = 5.0
    search: _SearchTable | None = None
    processes: BoundedInt = 1
    sharing: tuple[Sharing, ...] = ("one-socket",)


def _bounds(kind: type) -> dict[str, tuple[float, float]]:
    """Key → (least, most), as the types of the model have them."""
    told = msgspec.inspect.type_info(kind)
    assert isinstance(told, msgspec.inspect.StructType)
    return {
        field.name: (field.type.ge, field.type.le)
        for field in told.fields
        if isinstance(field.type, msgspec.inspect.IntType | msgspec.inspect.FloatType)
        and field.type.ge is not None
        and field.type.le is not None
    }


_LOAD_BOUNDS, _BOUNDS, _SEARCH_BOUNDS = _bounds(Load), _bounds(Workload), _bounds(Search)


def find(folder: Path) -> dict[str, Path]:
    """The declared workloads: name → file."""
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def choose(word: str, folder: Path) -> Workload:
    """The workload that a name or a path stands for. Raises WorkloadError."""
    known = find(folder)
    if word in known:
        return read(known[word])
    if "/" in word or word.endswith(".toml"):
        return read(Path(word))
    raise WorkloadError(f"no workload is named {word!r}; there are {', '.join(known)}")


def read(path: Path) -> Workload:
    """Reads and checks one workload file. Raises WorkloadError."""
    try:
        return parse(toml.text(path), str(path))
    except toml.Unreadable as error:
        raise WorkloadError(f"{path}: {error}") from None


def parse(text: str, source: str) -> Workload:
    """The workload that TOML text declares; source is the file that errors name."""
    try:
        document = msgspec.convert(toml.toml(text), _Document)
    except toml.Unreadable as error:
        raise WorkloadError(f"{source}: {error}") from None
    except msgspec.ValidationError as error:
        raise WorkloadError(f"{source}: {_named(str(error))}") from None
    _check(f"{source}:", document, _BOUNDS)
    if not document.servers:
        raise WorkloadError(f"{source}: servers: name at least one server or @tier")
    if not document.load:
        raise WorkloadError(f"{source}: load: give at least one [[load]] table")
    loads: list[Load] = []
    for number, table in enumerate(document.load):
        loads += _expand(f"{source}: load[{number}].", table)
        if len(loads) > MOST_LOADS:
            raise WorkloadError(f"{source}: load: more than {MOST_LOADS} loads")
    if len(set(loads)) != len(loads):
        raise WorkloadError(f"{source}: load: the same load is declared twice")
    search = None
    if document.search is not None:
        search = Search(**msgspec.structs.asdict(document.search))
        _check(f"{source}: search.", search, _SEARCH_BOUNDS)
        if len(loads) != 1 or loads[0].kind != "open":
            raise WorkloadError(f"{source}: search: goes with one load, of kind open")
        if search.least > search.most:
            raise WorkloadError(f"{source}: search.least: {search.least} is above search.most")
        if (messages := loads[0].rate * loads[0].duration_s) < P99_MESSAGES:
            raise WorkloadError(
                f"{source}: search: its p99 needs {P99_MESSAGES:,} messages, and rate × duration_s "
                f"is {messages:,.0f}; raise one of them"
            )
        loads = [msgspec.structs.replace(loads[0], clients=search.least)]
    sharing = tuple(dict.fromkeys(document.sharing))
    if not sharing:
        raise WorkloadError(f"{source}: sharing: the list is empty")
    found = Workload(
        name=Path(source).stem,
        title=document.title,
        servers=tuple(document.servers),
        blocks=1 if search else document.blocks,
        loads=tuple(loads),
        reference=document.reference or "",
        control=document.control and not search,
        repeats=document.repeats,
        connecting=document.connecting,
        connect_timeout_s=document.connect_timeout_s,
        drain_s=document.drain_s,
        search=search,
        processes=document.processes,
        sharing=sharing,
    )
    try:
        msgspec.convert(msgspec.to_builtins(found), Workload)
    except msgspec.ValidationError:  # all but its name is checked already
        raise WorkloadError(
            f"{source}: {found.name[:200]!r} is no name for a workload: begin with a letter"
        ) from None
    return _bounded(f"{source}: blocks:", found)


def _bounded(where: str, workload: Workload) -> Workload:
    """The workload itself when its blocks have no more trials than can be planned."""
    cells = workload.blocks * len(workload.loads)
    if cells > MOST_CELLS:
        raise WorkloadError(
            f"{where} {workload.blocks} of {len(workload.loads)} loads are {cells:,} trials of "
            f"each server; at most {MOST_CELLS:,} are planned"
        )
    return workload


def override(
    workload: Workload,
    *,
    servers: Sequence[str] = (),
    clients: Sequence[int] = (),
    blocks: int | None = None,
    processes: int | None = None,
    sharing: Sequence[Sharing] = (),
) -> Workload:
    """The workload with what the command line says instead. Raises WorkloadError.

    clients: the loads that the workload declares for these counts; for a count that it does
    not declare, those of its first count. A search goes from the least to the greatest.
    """
    loads, search = workload.loads, workload.search
    for count in clients:
        _check("--clients:", _Count(count), {"clients": _LOAD_BOUNDS["clients"]}, named=False)
    if clients and search:
        least = min(clients) if len(clients) > 1 else min(search.least, *clients)
        search = msgspec.structs.replace(search, least=least, most=max(clients))
        loads = (msgspec.structs.replace(loads[0], clients=least),)
    elif clients:
        first = [load for load in loads if load.clients == loads[0].clients]
        loads = tuple(
            load
            for count in dict.fromkeys(clients)
            for load in [each for each in loads if each.clients == count]
            or [msgspec.structs.replace(each, clients=count) for each in first]
        )
    if processes is not None and not 1 <= processes <= _BOUNDS["processes"][1]:
        most = _BOUNDS["processes"][1]
        raise WorkloadError(f"--processes: {processes} is not between 1 and {most}")
    if blocks is not None and not 1 <= blocks <= _BOUNDS["blocks"][1]:
        raise WorkloadError(f"--blocks: {blocks} is not between 1 and {_BOUNDS['blocks'][1]}")
    found = msgspec.structs.replace(
        workload,
        servers=tuple(servers) or workload.servers,
        loads=loads,
        blocks=blocks or workload.blocks,
        search=search,
        processes=processes or workload.processes,
        sharing=tuple(sharing) or workload.sharing,
    )
    return _bounded("--blocks:", found)


class _Count(msgspec.Struct):
    clients: int


def _expand(where: str, table: _LoadTable) -> list[Load]:
    choices = {
        key: value if isinstance(value := getattr(table, key), list) else [value]
        for key in ("clients", "message_bytes", "depth", "rate")
    }
    for key, values in choices.items():
        if not values:
            raise WorkloadError(f"{where}{key}: the list is empty")
    arrivals = table.arrivals
    if table.kind == "open":
        if not all(rate > 0 for rate in choices["rate"]):
            raise WorkloadError(f"{where}rate: an open loop needs one, in messages/s")
        arrivals = arrivals or "poisson"
    elif arrivals or any(choices["rate"]):
        raise WorkloadError(f"{where}rate: only an open loop has a rate and arrivals")
    loads = []
    for clients, message_bytes, depth, rate in itertools.product(*choices.values()):
        load = Load(
            kind=table.kind,
            clients=clients,
            message_bytes=message_bytes,
            depth=depth,
            warmup_s=table.warmup_s,
            duration_s=table.duration_s,
            rate=float(rate),
            arrivals=arrivals,
            ceiling_s=table.ceiling_s,
        )
        _check(where, load, _LOAD_BOUNDS)
        loads.append(load)
        if len(loads) > MOST_LOADS:
            raise WorkloadError(f"{where}clients: more than {MOST_LOADS} combinations")
    return loads


def _check(
    where: str, thing: object, bounds: Mapping[str, tuple[float, float]], named: bool = True
) -> None:
    gap = "" if where.endswith(".") else " "
    for key, (least, most) in bounds.items():
        value: Any = getattr(thing, key)
        if not least <= value <= most:
            name = f"{gap}{key}:" if named else ""
            raise WorkloadError(f"{where}{name} {value} is not between {least} and {most}")


def _named(error: str) -> str:
    """msgspec's 'Expected ... - at `$.load[0].kind`', with the key first."""
    match = re.fullmatch(r"(.*) - at `\$\.?(.*)`", error)
    return f"{match[2]}: {match[1]}" if match and match[2] else error
