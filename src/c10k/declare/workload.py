"""TOML → Workload, every error named with file and key.

A workload declares which servers run which loads, in how many blocks. A [[load]] table may
give a list for `clients`, `message_bytes`, `depth` and `rate`: each combination is one load.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from .. import model
from ..errors import UserError
from ..model import KINDS, Load, Request, Search, Sharing, Workload
from . import choosing, toml, values

MOST_LOADS = 1000
P99_MESSAGES = 10_000  # that leave 100 beyond a p99
FIRST_PER_S = 1_000.0  # the first rate of a capacity's search
P99_MS, WITHIN = 10.0, 0.03  # a capacity's service level, and how close its search comes
MOST_REQUESTS = 10  # of a mix
MOST_CELLS = 20_000  # blocks × loads, of each server

_T = TypeVar("_T")
_NonEmpty = Annotated[list[_T], msgspec.Meta(min_length=1)]
_Level = Annotated[float, msgspec.Meta(ge=0.001, le=3_600_000)]  # ms
_Within = Annotated[float, msgspec.Meta(ge=0.005, le=1)]
# As an option it is only given to set a number: 0 is what applies without it.
_SomeCores = Annotated[int, msgspec.Meta(ge=1, le=100_000)] | Literal["all"]


class WorkloadError(UserError):
    """A workload that cannot be used; the message names the file and the key."""


class _LoadTable(msgspec.Struct, forbid_unknown_fields=True):
    kind: model.Kind
    clients: model.Clients | _NonEmpty[model.Clients]
    message_bytes: model.MessageBytes | _NonEmpty[model.MessageBytes] = 64
    depth: model.Depth | _NonEmpty[model.Depth] = 1
    rate: model.Rate | _NonEmpty[model.Rate] = 0.0
    arrivals: model.Arrivals = ""
    mix: _NonEmpty[Request] | None = None
    warmup_s: model.WaitSeconds = 0.5
    duration_s: model.SliceSeconds = 2.0
    ceiling_s: model.SliceSeconds = 60.0
    p99_ms: _Level | None = None
    within: _Within | None = None
    shares: tuple[model.LoadShare, ...] | None = None
    client: model.Client | _NonEmpty[model.Client] = ""


class _SearchTable(Search, frozen=True, forbid_unknown_fields=True):
    pass


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    servers: _NonEmpty[str]
    load: _NonEmpty[_LoadTable]
    blocks: model.Blocks = 5
    reference: str = ""
    control: bool = True
    repeats: model.Repeats = 2
    connecting: model.Connecting = 128
    connect_timeout_s: model.TimeoutSeconds = 15.0
    drain_s: model.WaitSeconds = 5.0
    search: _SearchTable | None = None
    processes: model.Processes = 1
    sharing: Annotated[tuple[Sharing, ...], msgspec.Meta(min_length=1)] = ("one-socket",)
    python: tuple[model.OneLine, ...] = ()
    server_cores: model.ServerCores = 0


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
    raise WorkloadError(f"there is no workload {word!r}; choose from {', '.join(known)}")


def read(path: Path) -> Workload:
    """Reads and checks one workload file. Raises WorkloadError."""
    try:
        return parse(toml.text(path), str(path))
    except toml.Unreadable as error:
        raise WorkloadError(f"{path}: {error}") from None


def parse(text: str, source: str) -> Workload:
    """The workload that TOML text declares; source is the file that errors name."""
    try:
        return _workload(Path(source).stem, values.convert(toml.toml(text), _Document))
    except (toml.Unreadable, WorkloadError) as error:
        raise WorkloadError(f"{source}: {error}") from None


def _workload(name: str, document: _Document) -> Workload:
    try:
        values.convert(name, model.Name)
    except toml.Unreadable:
        raise WorkloadError(
            f"{name[:200]!r} cannot name a workload: use a file name of up to 200 characters that "
            "begins with a letter"
        ) from None
    loads: list[Load] = []
    for number, table in enumerate(document.load):
        loads += _expand(f"load[{number}].", table)
        if len(loads) > MOST_LOADS:
            raise WorkloadError(f"load: more than {MOST_LOADS} loads")
    if len(set(loads)) != len(loads):
        raise WorkloadError("load: the same load is declared twice")
    for word in document.python:
        if not choosing.is_interpreter(word):
            raise WorkloadError(f"python: {word!r} is not an interpreter; {choosing.INTERPRETERS}")
    search = document.search and _search(document.search, loads)
    if search:
        loads = [msgspec.structs.replace(loads[0], clients=search.least)]
    found = Workload(
        name=name,
        title=document.title,
        servers=tuple(document.servers),
        blocks=1 if search else document.blocks,
        loads=tuple(loads),
        reference=document.reference,
        control=document.control and not search,
        repeats=document.repeats,
        connecting=document.connecting,
        connect_timeout_s=document.connect_timeout_s,
        drain_s=document.drain_s,
        search=search,
        processes=document.processes,
        sharing=tuple(dict.fromkeys(document.sharing)),
        python=tuple(dict.fromkeys(document.python)),
        server_cores=document.server_cores,
    )
    return _bounded("blocks:", found)


def _search(table: _SearchTable, loads: Sequence[Load]) -> Search:
    if len(loads) != 1 or loads[0].kind != "open":
        raise WorkloadError("search: needs exactly one load, and it must be of kind open")
    if table.least > table.most:
        raise WorkloadError(f"search.least: {table.least} is above search.most, {table.most}")
    if (messages := loads[0].rate * loads[0].duration_s) < P99_MESSAGES:
        raise WorkloadError(
            f"search: its p99 needs {P99_MESSAGES:,} messages, and rate × duration_s "
            f"is {messages:,.0f}; raise one of them"
        )
    return Search(**msgspec.structs.asdict(table))


def _bounded(where: str, workload: Workload) -> Workload:
    """The same workload. Raises WorkloadError where it has more trials than can be planned."""
    cells = workload.blocks * len(workload.loads)
    if cells > MOST_CELLS:
        raise WorkloadError(
            f"{where} {workload.blocks:,} blocks of {len(workload.loads)} loads are {cells:,} "
            f"trials of each server; at most {MOST_CELLS:,} can be planned"
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
    python: Sequence[str] = (),
    server_cores: model.ServerCores | None = None,
) -> Workload:
    """The workload changed by the command line's options. Raises WorkloadError.

    clients: the loads that the workload declares for these counts; for a count that it does
    not declare, those of its first count. A search goes from the least to the greatest.
    """
    for count in clients:
        _check_option("--clients", count, model.Clients)
    _check_option("--blocks", blocks, model.Blocks | None)
    _check_option("--processes", processes, model.Processes | None)
    _check_option("--server-cores", server_cores, _SomeCores | None)
    loads, search = workload.loads, workload.search
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
    found = msgspec.structs.replace(
        workload,
        servers=tuple(servers) or workload.servers,
        loads=loads,
        blocks=blocks or workload.blocks,
        search=search,
        processes=processes or workload.processes,
        sharing=tuple(sharing) or workload.sharing,
        python=tuple(python) or workload.python,
        server_cores=server_cores or workload.server_cores,
    )
    return _bounded("--blocks:", found)


def _check_option(option: str, value: int | str | None, kind: Any) -> None:
    try:
        values.convert(value, kind)
    except toml.Unreadable as error:
        raise WorkloadError(f"{option} {value}: {error}") from None


def _expand(where: str, table: _LoadTable) -> list[Load]:
    """The loads of a table, one for each combination of its lists."""
    choices = {
        key: value if isinstance(value := getattr(table, key), list) else [value]
        for key in ("clients", "message_bytes", "depth", "rate", "client")
    }
    if math.prod(map(len, choices.values())) > MOST_LOADS:
        raise WorkloadError(f"{where}clients: more than {MOST_LOADS} combinations")
    arrivals, own = table.arrivals, _capacity(where, table)
    if table.mix and "C" in choices["client"]:
        raise WorkloadError(f"{where}client: a mix of requests is only sent by asyncio's client")
    if KINDS[table.kind].scheduled:
        if table.kind == "open" and not all(choices["rate"]):
            raise WorkloadError(f"{where}rate: an open loop needs a rate above 0, in messages/s")
        choices["rate"] = [rate or FIRST_PER_S for rate in choices["rate"]]
        arrivals = arrivals or "poisson"
    elif table.mix:
        raise WorkloadError(f"{where}mix: only a load of kind open or capacity can have a mix")
    elif arrivals or any(choices["rate"]):
        raise WorkloadError(f"{where}rate: only a load of kind open can have a rate and arrivals")
    fixed = {key: getattr(table, key) for key in ("kind", "warmup_s", "duration_s", "ceiling_s")}
    mix = _mix(where, table) if table.mix else ()
    return [
        Load(**fixed, **dict(zip(choices, each, strict=True)), arrivals=arrivals, mix=mix, **own)
        for each in itertools.product(*choices.values())
    ]


def _capacity(where: str, table: _LoadTable) -> dict[str, Any]:
    """The keys that only a capacity has, as the load has them. Raises WorkloadError elsewhere."""
    given = {key: getattr(table, key) for key in ("p99_ms", "within", "shares")}
    given = {key: value for key, value in given.items() if value is not None}
    if KINDS[table.kind].searched:
        return {"p99_ms": P99_MS, "within": WITHIN, **given}
    for key in given:
        raise WorkloadError(f"{where}{key}: only a load of kind capacity can have it")
    return {}


def _mix(where: str, table: _LoadTable) -> tuple[Request, ...]:
    """The requests of a table's mix. Raises WorkloadError."""
    mix = tuple(table.mix or ())
    if table.message_bytes != 64:
        raise WorkloadError(f"{where}message_bytes: does not apply to a mix; leave it out")
    if len(mix) > MOST_REQUESTS:
        raise WorkloadError(f"{where}mix: at most {MOST_REQUESTS} requests")
    for number, request in enumerate(mix):
        if round(request.ms, 1) != request.ms:
            raise WorkloadError(f"{where}mix[{number}].ms: must be in tenths, not {request.ms}")
        if (request.work == "keep") != (request.kib > 0):
            raise WorkloadError(
                f"{where}mix[{number}].kib: work keep needs it, in KiB, and no other work has it"
            )
    if len({request.label for request in mix}) < len(mix):
        raise WorkloadError(f"{where}mix: the same request is declared twice")
    return mix
