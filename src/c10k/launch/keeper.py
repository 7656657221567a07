"""Cleans up after this process, however it ends.

Every process that is started here has a mark in its environment, which its children inherit.
A separate process, the keeper, waits at the end of a pipe. When the pipe closes, its owner
has ended, even if by kill -9. Then the keeper kills all processes that carry the mark, and
removes their folder and the files whose names came through the pipe.

A control group or a PID namespace would do the same, but needs rights that a user may lack.

This file is also the keeper's program, so it imports the standard library only.
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
    """This process's mark and folder, and the process that cleans them up."""

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
        """Has this file removed at the end."""
        self.files.append(path.absolute())
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(os.fsencode(path.absolute()) + b"\0")
            self.process.stdin.flush()

    def end(self) -> None:
        """Makes the keeper clean up now, and does it again here in case the keeper was killed."""
        if not self.mark.startswith(f"{os.getpid()}-"):
            return  # in a forked copy: its parent cleans up
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # already ending
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.process.wait()
        clean(self.mark, [*self.files, self.folder])


_keeper: Keeper | None = None


def keeper() -> Keeper:
    """This process's keeper, started when it is first needed; a forked child gets its own."""
    global _keeper
    if _keeper is None or not _keeper.mark.startswith(f"{os.getpid()}-"):
        _keeper = Keeper()
    return _keeper


def sweep(mark: str) -> None:
    """Kills every process whose mark has this prefix, until none is left or for two seconds."""
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
    """The processes whose mark has this prefix."""
    return [pid for pid in _pids() if carries(pid, mark)]


def carries(pid: int, mark: str) -> bool:
    """Whether a process has a mark with this prefix; a zombie has no mark."""
    return (found := mark_of(pid)) is not None and found.startswith(mark)


def mark_of(pid: int) -> str | None:
    """The mark in a process's environment; None where there is none or it cannot be read."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    name = f"{MARK}=".encode()
    found = next((each for each in variables if each.startswith(name)), None)
    return None if found is None else os.fsdecode(found.removeprefix(name))


def clean(mark: str, places: list[Path]) -> None:
    """Kills all processes that carry the mark, then removes files and folders."""
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
        signal.signal(number, signal.SIG_IGN)  # only the end of its owner ends it
    received = sys.stdin.buffer.read()
    named = [Path(os.fsdecode(name)) for name in received.split(b"\0") if name]
    clean(sys.argv[1], [*named, Path(sys.argv[2])])
