"""Samples of what the server's process uses and holds, of the accept queue, and of what
else the machine does meanwhile.

Cheap readings (CPU clock, threads, accept queue) may be taken during a measured slice;
dear ones (PSS: milliseconds for a process with thousands of threads) only outside it.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .model import Noise, ServerUse


def cpu_ns(pid: int) -> int | None:
    """CPU time that a process has used, in ns; None when it is gone or cannot be read."""
    try:
        if sys.platform == "linux":
            # The clock of another process: ~pid << 3 | CPUCLOCK_SCHED (clock_getcpuclockid(3))
            return time.clock_gettime_ns((~pid << 3) | 2)
        times = psutil.Process(pid).cpu_times()
        return int((times.user + times.system) * 1e9)
    except (OSError, psutil.Error):
        return None


def pss_bytes(pid: int) -> int | None:
    """Proportional set size of what a process allocated: heap, stacks, shared memory.

    Mapped files are left out: the interpreter's pages are shared with the client's
    process, so their part of the PSS falls when that process starts, whatever the server
    does.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = dict(line.split()[:2] for line in text.splitlines()[1:])
    if "Pss_Anon:" not in found:
        return None
    return (int(found["Pss_Anon:"]) + int(found["Pss_Shmem:"])) * 1024


def threads(pid: int) -> int | None:
    """Threads of a process now."""
    try:
        return psutil.Process(pid).num_threads()
    except psutil.Error:
        return None


def descriptors(pid: int) -> int | None:
    """Descriptors that a process has open now."""
    try:
        return psutil.Process(pid).num_fds()
    except psutil.Error:
        return None


class Watch:
    """The readings of one trial, from the server's first echo to its last."""

    def __init__(self, pid: int, queue: Callable[[], tuple[int, int] | None]) -> None:
        """queue tells the accept queue's length and bound, or None where nothing does."""
        self.pid = pid
        self.queue = queue
        self.pss_before_bytes = pss_bytes(pid)
        self.pss_after_bytes: int | None = None
        self.threads_max = threads(pid)
        self.descriptors_max: int | None = None
        self.accept_queue_max: int | None = None
        self.accept_queue_limit: int | None = None
        self.slice_start: int | None = None  # the server's CPU clock, ns
        self.slice_end: int | None = None

    def glance(self) -> None:
        """The cheap readings that may rise and fall."""
        if seen := self.queue():
            self.accept_queue_max = _larger(self.accept_queue_max, seen[0])
            self.accept_queue_limit = seen[1]
        self.threads_max = _larger(self.threads_max, threads(self.pid))

    def sample(self) -> None:
        """A worker's sample has come: its slice starts, goes on or ends."""
        used_ns = cpu_ns(self.pid)
        if self.slice_start is None:
            self.slice_start = used_ns
        self.slice_end = used_ns
        self.glance()

    def connected(self) -> None:
        """All clients have echoed once and wait: the dear readings."""
        self.glance()
        self.descriptors_max = descriptors(self.pid)
        self.pss_after_bytes = pss_bytes(self.pid)

    def use(self) -> ServerUse:
        """What was seen."""
        cpu_s = None
        if self.slice_start is not None and self.slice_end is not None:
            cpu_s = (self.slice_end - self.slice_start) / 1e9
        return ServerUse(
            cpu_s=cpu_s,
            pss_before_bytes=self.pss_before_bytes,
            pss_after_bytes=self.pss_after_bytes,
            threads_max=self.threads_max,
            descriptors_max=self.descriptors_max,
            accept_queue_max=self.accept_queue_max,
            accept_queue_limit=self.accept_queue_limit,
        )


class Surroundings:
    """What the machine did besides us, from the moment this is made to noise().

    Ours are this process, its children and the sessions that they lead. Kernel threads
    are nobody's: what they do (network interrupts, mostly) the trial itself causes.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.stolen = _stolen_ticks()
        self.used = _ticks_of_others()

    def noise(self) -> Noise:
        """The shares since; a share is None where the system does not tell."""
        elapsed_s = time.monotonic() - self.began
        stolen, used = _stolen_ticks(), _ticks_of_others()
        per_s = os.sysconf("SC_CLK_TCK") * max(elapsed_s, 1e-3)
        steal: float | None = None
        others: float | None = None
        if stolen is not None and self.stolen is not None:
            steal = (stolen - self.stolen) / per_s / (os.cpu_count() or 1)
        if used and self.used:
            # a process that is new since has used all its time since
            spent = sum(max(0, ticks - self.used.get(pid, 0)) for pid, ticks in used.items())
            others = spent / per_s
        return Noise(steal_share=steal, others_cores=others)


def _stolen_ticks() -> int | None:
    """Clock ticks that the hypervisor took from all cores since boot."""
    try:
        return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])
    except (OSError, IndexError, ValueError):
        return None


def _ticks_of_others() -> dict[tuple[int, int], int]:
    """CPU ticks, with those of waited-for children, by (pid, start) of each foreign process."""
    me = os.getpid()
    seen: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            text = (folder / "stat").read_text()
            # the name stands in brackets and may hold anything; state is a letter
            seen[int(folder.name)] = [int(word) for word in text.rpartition(")")[2].split()[1:20]]
    ours = {me} | {pid for pid, fields in seen.items() if fields[0] == me}
    return {
        (pid, fields[18]): sum(fields[10:14])  # utime, stime, cutime, cstime; 18: starttime
        for pid, fields in seen.items()
        if pid not in ours and fields[2] not in ours - {me} and 2 not in (pid, fields[0])
    }


def _larger(a: int | None, b: int | None) -> int | None:
    with contextlib.suppress(ValueError):
        return max(value for value in (a, b) if value is not None)
    return None
