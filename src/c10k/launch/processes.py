"""The processes of this machine: which belong together, and how much CPU time each has used.

Every process has a CPU clock, in nanoseconds. It counts the time of all its threads, but not
that of its children. When a child is waited for, its time is added to a sum of the parent's,
which the kernel reports in ticks of 10 ms. So the time that a tree of processes used between
two readings is the advance of the clocks of those that are still there, plus the growth of
their sums, minus what the processes that ended meanwhile had used before.

On Linux /proc/PID/stat is parsed here and not by psutil. One read gives parent, start,
session, the time of children, and whether it is a thread of the kernel; psutil has neither
the last nor the session. psutil.process_iter() reads the same file once for every attribute
and takes three times as long, and its cpu_times() are in ticks of 10 ms, where the clock is
exact. Elsewhere psutil is used.

A reading makes two system calls or more for each process, and takes milliseconds for one with
thousands of threads. So none is taken while a slice is measured.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from . import keeper

Process = tuple[int, int]  # pid and start time, as pids are used again
LINUX = sys.platform == "linux"
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, in a process's flags


class Entry(NamedTuple):
    """What the kernel's list has about a process."""

    pid: int
    started: int  # ticks since boot on Linux, else hundredths of a second since 1970
    parent: int
    session: int
    waited_ns: int  # CPU time of the children that it has waited for, and of theirs
    kernel: bool  # it is a thread of the kernel


class Used(NamedTuple):
    """CPU time of a process and of the children it has waited for, in ns, and its parent."""

    own_ns: int
    waited_ns: int
    parent: int


def cpu_ns(pid: int) -> int | None:
    """CPU time that a process has used, in ns; None when it is gone or cannot be read."""
    try:
        if LINUX:
            # The clock of another process: ~pid << 3 | CPUCLOCK_SCHED (clock_getcpuclockid(3))
            return time.clock_gettime_ns((~pid << 3) | 2)
        times = psutil.Process(pid).cpu_times()
        return int((times.user + times.system) * 1e9)
    except (OSError, psutil.Error):
        return None


def threads(pids: Iterable[int]) -> int | None:
    """How many threads processes have now, in total; None when no process can be read."""
    return _sum(_threads(pid) for pid in pids)


def descriptors(pids: Iterable[int]) -> int | None:
    """How many descriptors the process with the most has open; None when none can be read."""
    return max((n for pid in pids if (n := _descriptors(pid)) is not None), default=None)


def everybody() -> list[int]:
    """The pids of all processes that this one can see."""
    if not LINUX:
        return list(map(int, psutil.pids()))
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


def tree(pids: Sequence[int]) -> list[int]:
    """Processes and all that they have started, also those whose parent has ended.

    What a server starts is in the server's session, or has left it and still carries the
    server's mark in its environment (see keeper.py). For a process that does not lead a
    session, and where there is no /proc, its descendants are returned.
    """
    roots = set(pids)
    leaders = {pid for pid in roots if _session(pid) == pid}
    found = roots | _descendants(roots - leaders)
    marks = {mark for pid in leaders if (mark := keeper.mark_of(pid))}
    if leaders:
        for pid in everybody():
            if _session(pid) in leaders or any(keeper.carries(pid, mark) for mark in marks):
                found.add(pid)
    return sorted(found)


def entry(pid: int) -> Entry | None:
    """What the kernel's list has about a process; None when it is gone or hidden."""
    try:
        if LINUX:
            return parsed(Path(f"/proc/{pid}/stat").read_bytes())
        process = psutil.Process(pid)
        return Entry(
            pid, int(process.create_time() * 100), process.ppid(), os.getsid(pid), 0, False
        )
    except (OSError, psutil.Error):
        return None


def parsed(stat: bytes) -> Entry:
    """The entry in the text of /proc/PID/stat, whose fields proc(5) numbers from 1."""
    # The second field is the name, in brackets, and may contain anything; the third is a letter.
    before, _, after = stat.rpartition(b")")
    fields = after.split()
    return Entry(
        pid=int(before.split(b" ", 1)[0]),
        started=int(fields[22 - 3]),
        parent=int(fields[4 - 3]),
        session=int(fields[6 - 3]),
        waited_ns=(int(fields[16 - 3]) + int(fields[17 - 3])) * TICK_NS,
        kernel=bool(int(fields[9 - 3]) & _KERNEL_THREAD),
    )


def usage(entries: Iterable[Entry]) -> dict[Process, Used]:
    """The CPU time that processes have used so far; those that are gone are left out."""
    return {
        (each.pid, each.started): Used(clock, each.waited_ns, each.parent)
        for each in entries
        if (clock := cpu_ns(each.pid)) is not None
    }


def spent_ns(
    before: Mapping[Process, Used],
    after: Mapping[Process, Used],
    of: Container[int] | None = None,
) -> int:
    """CPU time in ns that processes used between two readings. of: their pids; None means all.

    All time of a process that is new counts. The time of a process that ended went to the
    process that waited for it, its nearest ancestor that is still there. What it had used
    before the first reading is subtracted there, so that it is not counted twice.
    """
    there = {pid for pid, _ in after}
    parents = {pid: used.parent for (pid, _), used in before.items()}
    inherited: Counter[int] = Counter()
    for process, used in before.items():
        if process not in after:
            heir = used.parent
            while heir not in there and heir in parents:
                heir = parents[heir]
            inherited[heir] += used.own_ns + used.waited_ns
    nothing = Used(0, 0, 0)
    total = 0
    for process, used in after.items():
        if of is not None and process[0] not in of:
            continue
        known = before.get(process, nothing)
        total += max(0, used.own_ns - known.own_ns)
        total += max(0, used.waited_ns - known.waited_ns - inherited[process[0]])
    return total


def below(entries: Iterable[Entry], root: int) -> set[int]:
    """The descendants of a process, and all processes of the sessions that they lead."""
    all_of_them = list(entries)
    found: set[int] = set()
    while True:
        more = {
            each.pid
            for each in all_of_them
            if each.pid != root and (each.parent in found | {root} or each.session in found)
        }
        if more <= found:
            return found
        found |= more


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _descendants(roots: set[int]) -> set[int]:
    found: set[int] = set()
    for pid in roots:
        with suppress(psutil.Error):
            found |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
    return found


def _threads(pid: int) -> int | None:
    """How many threads a process has; None when it is gone or cannot be read.

    Not from /proc/PID/stat, where the kernel adds up the CPU time of all threads.
    """
    try:
        if LINUX:
            # The links of the folder: itself, its parent, and one for each thread
            return Path(f"/proc/{pid}/task").stat().st_nlink - 2
        return int(psutil.Process(pid).num_threads())
    except (OSError, psutil.Error):
        return None


def _descriptors(pid: int) -> int | None:
    """How many descriptors a process has open; None when it is gone or cannot be read.

    They are listed only on kernels before 6.2: listing makes an object in the kernel for each.
    """
    try:
        if LINUX:
            folder = Path(f"/proc/{pid}/fd")
            return folder.stat().st_size or len(os.listdir(folder))  # noqa: PTH208 - the size: 6.2
        return int(psutil.Process(pid).num_fds())
    except (OSError, psutil.Error):
        return None


def _sum(counts: Iterator[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
