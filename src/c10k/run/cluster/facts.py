"""What a host is, allows and has installed; how the hosts must agree.

All run the same suite, interpreter and libraries, and the server's host the same frameworks
as the command's: what was checked there, and written down of versions, then holds here.
Kernels and processors may differ; they are recorded for each host.
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

# What the engine and the client stand on; the frameworks are needed where servers run.
_LIBRARIES = ("distributed", "hdrhistogram", "msgspec", "numpy", "psutil", "uvloop")
_OF_THE_SUITE = {
    "engine": (Path(__file__).resolve().parents[1], "**/*.py"),
    "clients": (paths.CLIENT.parent, "*.py"),
    "servers": (paths.SERVERS, "**/*.*"),
}

Role = Literal["server", "client"]


class ClusterError(UserError):
    """Hosts that no session can run on; the message says which, why and what to do."""


class Facts(Struct, frozen=True):
    """One host, as it describes itself."""

    cores: tuple[int, ...]  # those that its worker may use
    limits: Limits
    free_bytes: int
    addresses: tuple[str, ...]  # of the interface on the wire, the worker's own first
    everywhere: dict[str, str]  # what must be the same on all hosts: name → version or digest
    serving: dict[str, str]  # what must be the same where servers run
    environment: dict[str, Any]


class Labelled(Struct, frozen=True):
    """A worker of the scheduler that has one of our labels."""

    worker: str  # its address within Dask
    name: str
    wire: str  # the address that it is reached at
    roles: dict[Role, float]  # label → amount


def read(dask_worker: Any = None) -> Facts:
    """This host's; Dask gives its worker, which knows by which address others reach it."""
    wire = urlsplit(dask_worker.address).hostname if dask_worker else ""
    return Facts(
        cores=tuple(machine.cores_allowed() or ()),
        limits=machine.read_limits(),
        free_bytes=available_bytes(),
        addresses=_beside(wire or ""),
        everywhere={
            "Python": platform.python_version(),
            **{name: _version(name) for name in _LIBRARIES},
            **{f"files of {name}": _digest(*where) for name, where in _OF_THE_SUITE.items()},
        },
        serving={name: _version(name) for name in _frameworks()},
        environment=machine.environment(paths.SUITE),
    )


def differences(mine: Facts, hosts: Mapping[str, tuple[Facts, Sequence[Role]]]) -> list[str]:
    """How hosts differ from this one in what must be the same."""
    found = []
    for name, (theirs, roles) in hosts.items():
        pairs = [(mine.everywhere, theirs.everywhere)]
        pairs += [(mine.serving, theirs.serving)] if "server" in roles else []
        for here, there in pairs:
            found += [
                f"{name} has {_said(what, there.get(what))}, this host {_said(what, version)}"
                for what, version in here.items()
                if there.get(what) != version
            ]
    return found


def _said(what: str, version: str | None) -> str:
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
    """Of the files' names and contents: eight hex digits are enough to tell them apart."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob(pattern)):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:8]


def _beside(wire: str) -> tuple[str, ...]:
    """The addresses of the interface that has this one, which comes first; one family."""
    for found in psutil.net_if_addrs().values():
        families = [each.family for each in found if each.address == wire]
        if families:
            alike = [each.address for each in found if each.family == families[0]]
            alike = [each for each in alike if each != wire and "%" not in each]
            return (wire, *alike) if families[0] in (socket.AF_INET, socket.AF_INET6) else (wire,)
    return (wire,)
