"""What a server needs: what of it is installed for this interpreter, and what is missing."""

import ctypes
import errno
import os
import platform
import re
import shutil
import sys
import sysconfig
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from .. import paths
from ..model import Server
from . import backend, certificate

_IO_URING_SETUP = 425  # the same on every architecture but alpha

_PACKAGES = {"cc": "gcc", "go": "golang-go", "node": "nodejs"}  # program → Debian's name for it


def why_not_runnable(server: Server) -> str:
    """Why this server cannot run on this interpreter, with what to do; "" when it can."""
    here = "{}.{}.{}".format(*sys.version_info[:3])
    fits = SpecifierSet(server.requires_python).contains(here, prereleases=True)
    if not fits or (server.free_threaded and not sysconfig.get_config_var("Py_GIL_DISABLED")):
        kind = "free-threaded Python" if server.free_threaded else "Python"
        return f"needs {kind} {server.requires_python}; this is {here}"
    if reason := forbidden(server):
        return reason
    for dependency in map(Requirement, server.dependencies):
        if dependency.marker and not dependency.marker.evaluate():
            continue
        try:
            installed = metadata.version(dependency.name)
        except metadata.PackageNotFoundError:
            if reason := wrong_libc(server):
                return reason
            state = "is not installed"
        else:
            if dependency.specifier.contains(installed, prereleases=True):
                continue
            state = f"{installed} is installed"
        remedy = paths.pip_install(f"'{dependency}'")
        return f"{dependency.name} {state}: {remedy}"
    if server.tls and (reason := certificate.why_none()):
        return reason
    for what, words in (("compiler", server.build), ("program", server.start)):
        if words and "{" not in words[0] and shutil.which(words[0]) is None:
            package = _PACKAGES.get(words[0], words[0])
            return f"no {what}: {words[0]} is not on PATH (apt-get install {package})"
    return backend.why_missing(server)


def wrong_libc(server: Server) -> str:
    """Why the packages that a server needs cannot be installed on this C library, or ""."""
    library, version = platform.libc_ver()
    if library != "glibc" or SpecifierSet(server.glibc).contains(version):
        return ""
    return f"needs glibc {server.glibc}; this is {version}"


def forbidden(server: Server) -> str:
    """Why this kernel does not let the server do what it needs, or ""."""
    if not server.io_uring:
        return ""
    if sys.platform != "linux":
        return "needs io_uring, which only Linux has"
    here = (re.match(r"[\d.]*\d", platform.release()) or ["0"])[0]
    if not SpecifierSet(server.io_uring).contains(here):
        return f"needs io_uring as Linux {server.io_uring} has it; this is {here}"
    code = _io_uring_error()
    return {
        0: "",
        errno.EPERM: "the kernel forbids io_uring (sysctl kernel.io_uring_disabled, or a "
        "container's seccomp profile)",
        errno.ENOSYS: "the kernel has no io_uring, or a sandbox hides it",
    }.get(code, f"io_uring cannot be used: {os.strerror(code)}")


def _io_uring_error() -> int:
    """The errno of making a ring, which is closed again; 0 when the kernel allows it."""
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(120)  # struct io_uring_params
    ring = libc.syscall(_IO_URING_SETUP, 1, params)
    if ring < 0:
        return ctypes.get_errno()
    os.close(ring)
    return 0


def distributions(server: Server) -> set[str]:
    """The distributions whose versions are recorded: the framework and each dependency."""
    names = {Requirement(dependency).name for dependency in server.dependencies}
    return names | {server.framework} - {""}


def versions(server: Server) -> dict[str, str]:
    """The versions of the server's distributions, and of what runs beside it, by name."""
    return {**backend.versions(server), **installed(server)}


def installed(server: Server) -> dict[str, str]:
    """The installed versions of the server's distributions, by name. Starts nothing."""
    found = {}
    for name in sorted(distributions(server)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def notes(server: Server, python: str = "") -> tuple[str, ...]:
    """The server's notes that apply to this version of Python; "" means the running one."""
    version = python or "{}.{}.{}".format(*sys.version_info[:3])
    return tuple(
        note.text
        for note in server.notes
        if SpecifierSet(note.python).contains(version, prereleases=True)
    )
