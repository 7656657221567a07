"""The Redis that a server asks: one for each started server, and only as long as it runs.

A server whose block says needs = "redis" gets a Redis of its own, started before it and ended
after it, so that no trial finds what an earlier one left. It listens on a UNIX socket in a
folder of its own, keeps nothing on disk, and runs on the server's cores. Its mark (keeper.py)
is not the server's: what is read of the server leaves Redis out.
"""

import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..model import Server
from . import confine, keeper
from .build import NotServing
from .child import Child, ChildSetup
from .log import last_line

URL = "REDIS_URL"  # the variable in which the server finds it
_PROGRAM = "redis-server"
_PATH_BYTES = 107  # of a UNIX socket's address, at most
_READY_S = 10.0
_LOG_BYTES = 1024 * 1024


@dataclass
class Redis:
    """A started Redis. Its owner must call stop() in any case."""

    process: Child
    mark: str
    folder: Path

    @property
    def socket(self) -> Path:
        return _socket(self.folder)

    @property
    def url(self) -> str:
        """Where it is, as its drivers take it: unix:///PATH."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def environment(self) -> dict[str, str]:
        """The variable that tells a server where it is."""
        return {URL: self.url}

    def why_gone(self) -> str:
        """How it ended, and its last words; "" while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        if killed := self.process.killed():
            return f"the server's Redis {killed}"
        last = last_line(_log(self.folder)).partition(" # ")[2]
        return f"the server's Redis exited with code {code}" + (f": {last}" if last else "")

    def stop(self) -> None:
        """Kills it, as it has nothing to save, and removes its folder."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        keeper.sweep(self.mark)
        shutil.rmtree(self.folder, ignore_errors=True)


def why_missing(server: Server) -> str:
    """Why the server cannot have the Redis that it needs, with what to do; "" when it can."""
    if server.needs != "redis":
        return ""
    if shutil.which(_PROGRAM) is None:
        return f"{_PROGRAM} is not on PATH (apt-get install redis-server)"
    # the name of the keeper's folder has eight letters of its own
    longest = _socket(Path(tempfile.gettempdir()) / "c10k-12345678" / "12345678")
    if (length := len(os.fsencode(longest))) > _PATH_BYTES:
        return (
            f"the path of Redis's socket would have {length} bytes, and {_PATH_BYTES} is the most: "
            "set TMPDIR to a folder with a shorter path"
        )
    return ""


def versions(server: Server) -> dict[str, str]:
    """The version of the Redis that the server needs, by the program's name; {} without one."""
    if server.needs != "redis" or (program := shutil.which(_PROGRAM)) is None:
        return {}
    return {_PROGRAM: _version(program)}


@functools.cache
def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\bv=(\S+)", done.stdout)
    return found[1] if found else "unknown"


def start(server: Server, cpus: Sequence[int] | None) -> Redis | None:
    """The Redis that this server needs, when it answers; None for a server that needs none.

    cpus: the cores that it may use, None for those of this process. Raises NotServing.
    """
    if not server.needs:
        return None
    if reason := why_missing(server):
        raise NotServing(reason)
    mark, folder = keeper.keeper().reserve()
    redis = Redis(_spawn(mark, folder, cpus), mark, folder)
    try:
        _await_answer(redis, time.monotonic() + _READY_S)
    except BaseException:
        redis.stop()
        raise
    return redis


def _spawn(mark: str, folder: Path, cpus: Sequence[int] | None) -> Child:
    options = {
        "port": "0",  # no TCP
        "unixsocket": str(_socket(folder)),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "loglevel": "warning",
    }
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    rules = confine.ruleset(folder)
    try:
        with _log(folder).open("wb") as log:
            return Child(
                [_PROGRAM, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ChildSetup(cpus, _LOG_BYTES, rules),
                cwd=folder,
                env={**os.environ, keeper.MARK: mark},
            )
    finally:
        if rules is not None:
            os.close(rules)


def _await_answer(redis: Redis, deadline: float) -> None:
    while True:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            client.connect(str(redis.socket))
            client.sendall(b"PING\r\n")
            if client.recv(16).startswith(b"+PONG"):
                return
        if reason := redis.why_gone():
            raise NotServing(reason)
        if time.monotonic() > deadline:
            raise NotServing(f"the server's Redis did not answer within {_READY_S:.0f} s")
        time.sleep(0.01)


def _socket(folder: Path) -> Path:
    return folder / "redis.sock"


def _log(folder: Path) -> Path:
    return folder / "log"
