"""The facts of a host: cores, limits, addresses and versions, and what all hosts must share.

All hosts run the same suite, interpreter and libraries. The server's host also has the same
frameworks as the machine that the command runs on, because the servers were checked, and their
versions recorded, there. Kernels and processors may differ; they are recorded for each host.
"""

import hashlib
import platform
import socket
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
from msgspec import Struct
from packaging.requirements import Requirement

from ... import machine, paths
from ...declare import catalog
from ...errors import UserError
from ...launch.watch import available_bytes
from ...machine import Limits

# What the engine and the client need. The frameworks are needed only where servers run.
_LIBRARIES = ("distributed", "hdrhistogram", "msgspec", "numpy", "psutil", "uvloop")
FILES = {
    "engine": (Path(paths.__file__).parent, "**/*.py"),
    "clients": (paths.CLIENT.parent, "*.*"),
    "servers": (paths.SERVERS, "**/*.*"),
}

Role = Literal["server", "client"]


class ClusterError(UserError):
    """No session can run on these hosts; the message says which host, why, and what to do."""


class HostFacts(Struct, frozen=True):
    """One host, as it describes itself."""

    cores: tuple[int, ...]  # the cores that its Dask worker may use
    limits: Limits
    free_bytes: int
    addresses: tuple[str, ...]  # of the interface that others reach; the one they use is first
    everywhere: dict[str, str]  # what must be the same on all hosts: name → version or digest
    serving: dict[str, str]  # what must be the same where servers run
    environment: dict[str, Any]
    siblings: tuple[frozenset[int], ...] = ()  # hyper-threads that are one real core


class LabelledHost(Struct, frozen=True):
    """A host whose Dask worker has the label client, server, or both."""

    worker: str  # the address of its Dask worker, tcp://HOST:PORT
    name: str
    wire: str  # the address at which other hosts reach it
    roles: dict[Role, float]  # label → amount


def read(dask_worker: Any = None) -> HostFacts:
    """The facts of this host. Dask passes its worker, which knows the address others use."""
    wire = urlsplit(dask_worker.address).hostname if dask_worker else ""
    cores = tuple(machine.cores_allowed() or ())
    return HostFacts(
        cores=cores,
        limits=machine.read_limits(),
        free_bytes=available_bytes(),
        addresses=_beside(wire or ""),
        everywhere={
            "Python": platform.python_version(),
            **{name: _version(name) for name in _LIBRARIES},
            **{f"files of {name}": _digest(*where) for name, where in FILES.items()},
        },
        serving={name: _version(name) for name in _frameworks()},
        environment=machine.environment(paths.SUITE),
        siblings=machine.sibling_groups(cores),
    )


def differences(
    mine: HostFacts, hosts: Mapping[str, tuple[HostFacts, Sequence[Role]]]
) -> list[str]:
    """One sentence for each difference between a host and this one that is not allowed."""
    found = []
    for name, (theirs, roles) in hosts.items():
        pairs = [(mine.everywhere, theirs.everywhere)]
        pairs += [(mine.serving, theirs.serving)] if "server" in roles else []
        for here, there in pairs:
            found += [
                f"{name} has {_having(what, there.get(what))}, this host {_having(what, version)}"
                for what, version in here.items()
                if there.get(what) != version
            ]
    return found


def _having(what: str, version: str | None) -> str:
    return f"{what} {version}" if version else f"no {what}"


def _frameworks() -> list[str]:
    """The distributions that any server of the suite needs."""
    servers = catalog.find(paths.SERVERS)
    needed = {Requirement(each).name for server in servers for each in server.dependencies}
    return sorted(needed)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _digest(folder: Path, pattern: str) -> str:
    """A digest of the files' names and contents, cut to eight hex digits: enough to compare."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob(pattern)):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:8]


def _beside(wire: str) -> tuple[str, ...]:
    """The wire address and then the others of its interface, all of one address family."""
    for found in psutil.net_if_addrs().values():
        families = [each.family for each in found if each.address == wire]
        if families:
            alike = [each.address for each in found if each.family == families[0]]
            alike = [each for each in alike if each != wire and "%" not in each]
            return (wire, *alike) if families[0] in (socket.AF_INET, socket.AF_INET6) else (wire,)
    return (wire,)
