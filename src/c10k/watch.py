"""Samples of what the server's process uses and holds, and of the accept queue.

Cheap readings (CPU clock, threads, accept queue) may be taken during a measured slice;
dear ones (PSS: milliseconds for a process with thousands of threads) only outside it.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .model import ServerUse


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

    def __init__(self, pid: int, queue_length: Callable[[], int | None]) -> None:
        self.pid = pid
        self.queue_length = queue_length
        self.pss_before_bytes = pss_bytes(pid)
        self.pss_after_bytes: int | None = None
        self.threads_max = threads(pid)
        self.descriptors_max: int | None = None
        self.accept_queue_max = queue_length()
        self.slice_start: int | None = None  # the server's CPU clock, ns
        self.slice_end: int | None = None

    def glance(self) -> None:
        """The cheap readings that may rise and fall."""
        self.accept_queue_max = _larger(self.accept_queue_max, self.queue_length())
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
        )


def _larger(a: int | None, b: int | None) -> int | None:
    with contextlib.suppress(ValueError):
        return max(value for value in (a, b) if value is not None)
    return None
