"""Samples of what the server's process uses and holds, of the accept queue, and of what
else the machine does meanwhile.

Cheap readings (CPU clock, threads, accept queue) may be taken during a measured slice;
dear ones (PSS: milliseconds for a process with thousands of threads) only outside it.
"""

import contextlib
import itertools
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from .model import Memory, Noise, ServerUse

_Process = tuple[int, int]  # pid and start, as pids come again


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


def memory(pids: Sequence[int]) -> Memory | None:
    """What processes hold together; None when one is gone or the system does not tell.

    pss_bytes leaves mapped files out: the interpreter's pages are shared with the client's
    process, so their part of the PSS falls when that process starts, whatever the server
    does. Stacks of threads are in it as far as they were touched; the kernel's own stacks
    and the sockets' buffers are told for the whole machine only.
    """
    held: Counter[str] = Counter()
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            return None
        held.update({line.split()[0]: int(line.split()[1]) for line in text.splitlines()[1:]})
    if not {"Pss_Anon:", "Pss_Shmem:"} <= held.keys():
        return None
    return Memory(
        pss_bytes=(held["Pss_Anon:"] + held["Pss_Shmem:"]) * 1024,
        private_bytes=(held["Private_Clean:"] + held["Private_Dirty:"]) * 1024,
        shared_bytes=(held["Shared_Clean:"] + held["Shared_Dirty:"]) * 1024,
        kernel_stacks_bytes=_number_after("/proc/meminfo", "KernelStack:", 1024),
        sockets_bytes=_number_after("/proc/net/sockstat", "TCP:.* mem", os.sysconf("SC_PAGESIZE")),
        slab_bytes=_number_after("/proc/meminfo", "Slab:", 1024),
    )


def available_bytes() -> int:
    """Memory that the machine can still give without swapping."""
    return int(psutil.virtual_memory().available)


def listen_overflows() -> int | None:
    """Connections that this machine's listeners dropped because their accept queue was full."""
    try:
        lines = Path("/proc/net/netstat").read_text().splitlines()
    except OSError:
        return None
    for names, values in itertools.pairwise(lines):
        if names.startswith("TcpExt:") and values.startswith("TcpExt:"):
            found = dict(zip(names.split(), values.split(), strict=False))
            return int(found.get("ListenOverflows", 0))
    return None


def threads(pids: Sequence[int]) -> int | None:
    """Threads of processes now, together."""
    try:
        return sum(psutil.Process(pid).num_threads() for pid in pids)
    except psutil.Error:
        return None


def descriptors(pids: Sequence[int]) -> int | None:
    """Descriptors that the process with the most of them has open now."""
    try:
        return max(psutil.Process(pid).num_fds() for pid in pids)
    except psutil.Error:
        return None


class Watch:
    """The readings of one trial, from the server's first echo to its last."""

    def __init__(self, pids: Sequence[int], queue: Callable[[], tuple[int, int] | None]) -> None:
        """queue tells the accept queue's length and bound, or None where nothing does."""
        self.pids = pids
        self.queue = queue
        self.before = memory(pids)
        self.after: Memory | None = None
        self.overflows_before = listen_overflows()
        self.threads_max = threads(pids)
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
        self.threads_max = _larger(self.threads_max, threads(self.pids))

    def sample(self) -> None:
        """A worker's sample has come: its slice starts, goes on or ends."""
        clocks = [cpu_ns(pid) for pid in self.pids]
        known = [clock for clock in clocks if clock is not None]
        used_ns = sum(known) if len(known) == len(clocks) else None
        if self.slice_start is None:
            self.slice_start = used_ns
        self.slice_end = used_ns
        self.glance()

    def connected(self) -> None:
        """All clients have echoed once and wait: the dear readings."""
        self.glance()
        self.descriptors_max = descriptors(self.pids)
        self.after = memory(self.pids)

    def use(self) -> ServerUse:
        """What was seen."""
        cpu_s = None
        if self.slice_start is not None and self.slice_end is not None:
            cpu_s = (self.slice_end - self.slice_start) / 1e9
        overflows = listen_overflows()
        if overflows is not None and self.overflows_before is not None:
            overflows -= self.overflows_before
        return ServerUse(
            cpu_s=cpu_s,
            before=self.before,
            after=self.after,
            threads_max=self.threads_max,
            descriptors_max=self.descriptors_max,
            accept_queue_max=self.accept_queue_max,
            accept_queue_limit=self.accept_queue_limit,
            listen_overflows=overflows,
        )


class Used(NamedTuple):
    """CPU ticks of a process and of the children it has waited for, and who its parent is."""

    ticks: int
    parent: int


def spent_ticks(before: Mapping[_Process, Used], after: Mapping[_Process, Used]) -> int:
    """Ticks that processes used between two readings, by (pid, start).

    A process that is new since has used all its time since. One that is gone has left what it
    had used before to whoever waited for it, its nearest ancestor that is still there: that
    is not used anew, be it hours.
    """
    there = {pid for pid, _ in after}
    parents = {pid: used.parent for (pid, _), used in before.items()}
    inherited: Counter[int] = Counter()
    for process, used in before.items():
        if process not in after:
            heir = used.parent
            while heir not in there and heir in parents:
                heir = parents[heir]
            inherited[heir] += used.ticks
    nothing = Used(0, 0)
    return sum(
        max(0, used.ticks - before.get(process, nothing).ticks - inherited[process[0]])
        for process, used in after.items()
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
            others = spent_ticks(self.used, used) / per_s
        return Noise(steal_share=steal, others_cores=others)


def _stolen_ticks() -> int | None:
    """Clock ticks that the hypervisor took from all cores since boot."""
    try:
        return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])
    except (OSError, IndexError, ValueError):
        return None


def _ticks_of_others() -> dict[_Process, Used]:
    """What each foreign process has used so far. Raises OSError when that cannot be read."""
    me = os.getpid()
    seen: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # gone, hidden from us or half gone; none is left out for any other reason, as its
        # whole life would count as used when it is read again
        with contextlib.suppress(
            ProcessLookupError, FileNotFoundError, PermissionError, ValueError
        ):
            text = (folder / "stat").read_text()
            # the name stands in brackets and may hold anything; state is a letter
            seen[int(folder.name)] = [int(word) for word in text.rpartition(")")[2].split()[1:20]]
    ours = {me} | {pid for pid, fields in seen.items() if fields[0] == me}
    return {
        # utime, stime, cutime, cstime; 18: starttime
        (pid, fields[18]): Used(sum(fields[10:14]), fields[0])
        for pid, fields in seen.items()
        if pid not in ours and fields[2] not in ours - {me} and 2 not in (pid, fields[0])
    }


def _number_after(path: str, pattern: str, unit: int) -> int | None:
    """The number behind a name in one of the kernel's text files, in bytes."""
    try:
        match = re.search(rf"^{pattern}\s+(\d+)", Path(path).read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * unit if match else None


def _larger(a: int | None, b: int | None) -> int | None:
    with contextlib.suppress(ValueError):
        return max(value for value in (a, b) if value is not None)
    return None
