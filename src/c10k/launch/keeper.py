"""Cleans up after this process, however it ends.

Whatever is started here carries a mark in its environment, which what it forks inherits.
A process of its own, the keeper, waits at the end of a pipe. When the pipe closes its
owner has ended, be it by kill -9: the keeper kills all that carry the mark and removes the
folder that they had, and the files that it was told of.

This file is the keeper's program, too; it needs the standard library alone.
"""

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARK = "C10K_MARK"  # the variable's name
_PATIENCE_S = 2.0


class Keeper:
    """This process's mark and folder, and the process that keeps them."""

    def __init__(self) -> None:
        self.mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        self.folder = Path(tempfile.mkdtemp(prefix="c10k-"))
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, self.mark, str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError:
            self.folder.rmdir()
            raise
        self.made = 0
        self.files: list[Path] = []
        atexit.register(self.end)

    def reserve(self) -> tuple[str, Path]:
        """A mark and a folder for something that this process is about to start."""
        self.made += 1
        folder = self.folder / str(self.made)
        folder.mkdir()
        return f"{self.mark}.{self.made}.", folder

    def remove(self, path: Path) -> None:
        """At the end, removes this file, too."""
        self.files.append(path.absolute())
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(os.fsencode(path.absolute()) + b"\0")
            self.process.stdin.flush()

    def end(self) -> None:
        """Lets the keeper do its work now; in its place, when it was killed."""
        if not self.mark.startswith(f"{os.getpid()}-"):
            return  # a forked copy: its parent's affair
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # this is the end already
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.process.wait()
        clean(self.mark, [*self.files, self.folder])


_keeper: Keeper | None = None


def keeper() -> Keeper:
    """This process's keeper, started when it is first needed; a forked child has its own."""
    global _keeper
    if _keeper is None or not _keeper.mark.startswith(f"{os.getpid()}-"):
        _keeper = Keeper()
    return _keeper


def sweep(mark: str) -> None:
    """Kills every process whose mark begins so, until there is none or two seconds are over."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        found = carrying(mark)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def carrying(mark: str) -> list[int]:
    """The processes whose mark begins so."""
    return [pid for pid in _pids() if carries(pid, mark)]


def carries(pid: int, mark: str) -> bool:
    """Whether a process that is not a zombie has a mark that begins so."""
    return (found := mark_of(pid)) is not None and found.startswith(mark)


def mark_of(pid: int) -> str | None:
    """The mark in a process's environment; None where there is none, or none to be seen."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    name = f"{MARK}=".encode()
    found = next((each for each in variables if each.startswith(name)), None)
    return None if found is None else os.fsdecode(found.removeprefix(name))


def clean(mark: str, places: list[Path]) -> None:
    """Kills what carries the mark, then removes files and folders."""
    sweep(mark)
    for place in places:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                place.unlink()


def _pids() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return []


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the owner's end ends it
    told = sys.stdin.buffer.read()
    named = [Path(os.fsdecode(name)) for name in told.split(b"\0") if name]
    clean(sys.argv[1], [*named, Path(sys.argv[2])])
