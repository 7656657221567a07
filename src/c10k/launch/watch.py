"""What the server uses and holds, what its machine holds for it, and what else the machine does.

Nothing here is read while a slice is measured but the length of the accept queue, which is
one question to the kernel about the suite's own socket: whoever watches must not disturb.
The server's CPU time is read just before the slice and just after it. Between the two
readings lies a little more than the slice, so what it used is taken as a rate.
"""

import functools
import gzip
import itertools
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from ..model import Memory, Noise, ServerUse
from . import keeper
from .processes import (
    LINUX,
    TICK_NS,
    Process,
    Used,
    below,
    descriptors,
    entry,
    everybody,
    spent_ns,
    threads,
    tree,
    usage,
)

__all__ = ["Surroundings", "Watch", "descriptors", "memory", "threads"]


def memory(pids: Iterable[int]) -> Memory | None:
    """What processes hold together, and the kernel for the whole machine.

    A process that is gone holds nothing; None when none is there, or the system does not tell.

    pss_bytes leaves mapped files out: the interpreter's pages are shared with the client's
    process, so their part of the PSS falls when that process starts, whatever the server
    does. Stacks of threads are in it as far as they were touched. The kernel's stacks, its
    objects (slab) and the sockets' buffers are told for the whole machine only, so the
    clients' side is in them. Bytes that wait in a socket's buffer are partly slab as well;
    so a reading is taken when none wait.
    """
    machine = {  # first, as the kernel makes objects for what is looked at below
        "kernel_stacks_bytes": _number_after("/proc/meminfo", "KernelStack:", 1024),
        "sockets_bytes": _number_after("/proc/net/sockstat", "TCP:.* mem", _page_bytes()),
        "slab_bytes": _number_after("/proc/meminfo", "Slab:", 1024),
    }
    held: Counter[str] = Counter()
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            return None
        held.update({line.split()[0]: int(line.split()[1]) for line in text.splitlines()[1:]})
        if found := re.search(r"^VmPTE:\s+(\d+)", status, re.MULTILINE):
            held["VmPTE:"] += int(found[1])
    if not {"Pss_Anon:", "Pss_Shmem:"} <= held.keys():
        return None
    return Memory(
        pss_bytes=(held["Pss_Anon:"] + held["Pss_Shmem:"]) * 1024,
        private_bytes=(held["Private_Clean:"] + held["Private_Dirty:"]) * 1024,
        shared_bytes=(held["Shared_Clean:"] + held["Shared_Dirty:"]) * 1024,
        page_tables_bytes=held["VmPTE:"] * 1024 if "VmPTE:" in held else None,
        **machine,
    )


def available_bytes() -> int:
    """Memory that the machine can still give without swapping; cheap enough for any moment."""
    if LINUX and (found := re.search(rb"MemAvailable:\s+(\d+)", os.pread(_meminfo(), 512, 0))):
        return int(found[1]) * 1024
    return int(psutil.virtual_memory().available)


@functools.cache
def _meminfo() -> int:
    """A descriptor that stays open: opening a file costs more than reading its first lines."""
    return os.open("/proc/meminfo", os.O_RDONLY | os.O_CLOEXEC)


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


# -- the machine's cores --------------------------------------------------------------------


class Core(NamedTuple):
    """How a core has spent its time since boot, in ticks, as /proc/stat counts it."""

    idle: int  # waiting for a device included
    interrupts: int  # hard and soft ones, where they are not booked with who was interrupted
    hard: int  # of these, the hard ones
    stolen: int  # by the hypervisor
    total: int


def cores_of(stat: str) -> dict[int, Core]:
    """What /proc/stat tells, by core."""
    found = {}
    for line in stat.splitlines():
        if not line.startswith("cpu"):
            break
        name, *words = line.split()
        if name != "cpu" and len(words) >= 8:
            _, _, _, idle, waiting, hard, soft, stolen = ticks = list(map(int, words[:8]))
            found[int(name[3:])] = Core(idle + waiting, hard + soft, hard, stolen, sum(ticks))
    return found


def busy_cores(
    before: Mapping[int, Core], after: Mapping[int, Core], cpus: Iterable[int], elapsed_ns: int
) -> float | None:
    """How many of some cores were busy, whoever kept them busy; None where it is not told.

    All that was not idle: the kernel times idleness, but mostly samples what a core does.
    """
    wanted = set(cpus)
    if not wanted or elapsed_ns <= 0 or not wanted <= before.keys() & after.keys():
        return None
    if all(before[cpu].total == after[cpu].total for cpu in wanted):
        return None  # some machines show a /proc/stat that stands still
    idle_ns = sum(after[cpu].idle - before[cpu].idle for cpu in wanted) * TICK_NS
    return min(max(0.0, len(wanted) - idle_ns / elapsed_ns), float(len(wanted)))


def interrupts_apart(config: str | None, cores: Mapping[int, Core]) -> bool | None:
    """Whether the time of interrupts is not in the clock of the process that they interrupt.

    The kernel's configuration tells (CONFIG_IRQ_TIME_ACCOUNTING). Where that cannot be read,
    time of hard interrupts shows it: a kernel that only samples what a core does cannot see
    any. None: not known.
    """
    if config is not None and "CONFIG_" in config:
        return "CONFIG_IRQ_TIME_ACCOUNTING=y" in config.splitlines()
    return True if any(core.hard for core in cores.values()) else None


@functools.cache
def read_interrupts_apart() -> bool | None:
    """interrupts_apart() of this machine."""
    config = None
    with suppress(OSError, EOFError):
        config = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    if config is None:
        with suppress(OSError):
            config = Path(f"/boot/config-{platform.release()}").read_text()
    return interrupts_apart(config, _cores())


def _cores() -> dict[int, Core]:
    with suppress(OSError):
        return cores_of(Path("/proc/stat").read_text())
    return {}


# -- the server -----------------------------------------------------------------------------


class _Reading(NamedTuple):
    """The CPU time that a server's processes have used, and the state of its cores."""

    at_ns: int  # the middle of the reading, time.perf_counter_ns()
    used: dict[Process, Used]
    cores_at_ns: int
    cores: dict[int, Core]


class Watch:
    """The readings of one trial, from the server's first echo to its last."""

    def __init__(
        self,
        pids: Sequence[int],
        queue: Callable[[], tuple[int, int] | None],
        cpus: Sequence[int] = (),
    ) -> None:
        """Reads what is there before any client.

        queue tells the accept queue's length and bound, or None where nothing does. cpus:
        the cores that the server is pinned to, alone.
        """
        self.pids = pids
        self.queue = queue
        self.cpus = tuple(cpus)
        self.before = memory(tree(pids))
        self.after: Memory | None = None
        self.at_load: Memory | None = None
        self.overflows_before = listen_overflows()
        self.processes_max: int | None = None
        self.threads_max: int | None = None
        self.descriptors_max: int | None = None
        self.accept_queue_max: int | None = None
        self.accept_queue_limit: int | None = None
        self.first: _Reading | None = None
        self.last: _Reading | None = None

    @property
    def begin_ns(self) -> int | None:
        """When begin() read, time.perf_counter_ns(); None: it has not."""
        return self.first.at_ns if self.first else None

    @property
    def end_ns(self) -> int | None:
        """When end() read."""
        return self.last.at_ns if self.last else None

    def queue_look(self) -> None:
        """The accept queue's length now: all that may be read while a slice is measured."""
        if seen := self.queue():
            self.accept_queue_max = _larger(self.accept_queue_max, seen[0])
            self.accept_queue_limit = seen[1]

    def connected(self) -> None:
        """All clients have echoed once and wait."""
        pids = tree(self.pids)
        self.after = memory(pids)
        self._count(pids, held=True)

    def begin(self) -> None:
        """The slice is about to start."""
        self.first = self._read(tree(self.pids))

    def end(self) -> None:
        """The slice has ended."""
        pids = tree(self.pids)
        self.last = self._read(pids)
        self._count(pids)

    def loaded(self) -> None:
        """The result is there, the clients still are."""
        pids = tree(self.pids)
        self.at_load = memory(pids)
        self._count(pids, held=True)

    def use(self, duration_s: float | None = None) -> ServerUse:
        """What was seen; CPU for a slice of that length (None: as long as between readings)."""
        overflows = listen_overflows()
        if overflows is not None and self.overflows_before is not None:
            overflows -= self.overflows_before
        cpu_s = busy = elapsed_s = None
        first, last = self.first, self.last
        if first and last and first.used and last.used and last.at_ns > first.at_ns:
            elapsed_s = (last.at_ns - first.at_ns) / 1e9
            cores = spent_ns(first.used, last.used) / (last.at_ns - first.at_ns)
            cpu_s = cores * (elapsed_s if duration_s is None else duration_s)
            busy = self.busy(self.cpus)
        return ServerUse(
            cpu_s=cpu_s,
            busy_cores=busy,
            read_s=elapsed_s,
            interrupts_apart=read_interrupts_apart(),
            cores=len(self.cpus) or None,
            before=self.before,
            after=self.after,
            loaded=self.at_load,
            processes_max=self.processes_max,
            threads_max=self.threads_max,
            descriptors_max=self.descriptors_max,
            accept_queue_max=self.accept_queue_max,
            accept_queue_limit=self.accept_queue_limit,
            listen_overflows=overflows,
        )

    def busy(self, cpus: Iterable[int]) -> float | None:
        """busy_cores() of any of this machine's cores, between begin() and end()."""
        if not (self.first and self.last):
            return None
        elapsed_ns = self.last.cores_at_ns - self.first.cores_at_ns
        return busy_cores(self.first.cores, self.last.cores, cpus, elapsed_ns)

    def _read(self, pids: Sequence[int]) -> _Reading:
        entries = [each for pid in pids if (each := entry(pid))]
        began_ns = time.perf_counter_ns()
        used = usage(entries)
        ended_ns = time.perf_counter_ns()
        return _Reading((began_ns + ended_ns) // 2, used, ended_ns, _cores())

    def _count(self, pids: Sequence[int], *, held: bool = False) -> None:
        self.processes_max = _larger(self.processes_max, len(pids))
        self.threads_max = _larger(self.threads_max, threads(pids))
        if held:
            self.descriptors_max = _larger(self.descriptors_max, descriptors(pids))


# -- what else the machine does -------------------------------------------------------------


class Scene(NamedTuple):
    """Everything that could be seen of a machine's processes at one moment."""

    at_ns: int
    used: dict[Process, Used]
    ours: frozenset[int]
    kernel: frozenset[int]  # threads of the kernel
    cores: dict[int, Core]


class Others(NamedTuple):
    """Cores that other processes kept busy, and how far off that may be."""

    cores: float
    within: float


def others(before: Scene, after: Scene) -> Others | None:
    """What others used between two scenes; None where nothing tells.

    Where the kernel's threads are seen, every process is: what the others' clocks went on is
    known to the microsecond, and what their children used that have ended, to two ticks for
    each who waited for some. In a PID namespace, or where /proc hides what others run, the
    cores' own books tell of all together: what was neither idle, nor stolen, nor an
    interrupt, less what ours used. That is the least that others can have used, as
    interrupts may be in our clocks, too; the kernel's threads are among the others there.
    """
    elapsed_ns = after.at_ns - before.at_ns
    if elapsed_ns <= 0 or not after.used:
        return None
    ours = before.ours | after.ours
    if before.kernel and after.kernel:
        theirs = {pid for pid, _ in after.used} - ours
        waiting = sum(
            used.waited_ns > before.used[process].waited_ns
            for process, used in after.used.items()
            if process in before.used and process[0] in theirs
        )
        spent = spent_ns(before.used, after.used, theirs)
        return Others(spent / elapsed_ns, 2 * waiting * TICK_NS / elapsed_ns)
    common = before.cores.keys() & after.cores.keys()
    busy = busy_cores(before.cores, after.cores, common, elapsed_ns)
    if busy is None:
        return None
    nobodys = sum(
        after.cores[cpu].interrupts
        + after.cores[cpu].stolen
        - before.cores[cpu].interrupts
        - before.cores[cpu].stolen
        for cpu in common
    )
    spent = spent_ns(before.used, after.used, ours)
    rest_ns = busy * elapsed_ns - nobodys * TICK_NS - spent
    unsure_ns = 2 * len(common) * TICK_NS
    return Others(max(0.0, rest_ns) / elapsed_ns, unsure_ns / elapsed_ns)


class Surroundings:
    """What the machine did besides us, from the moment this is made to noise().

    Ours are this process, what it started, the sessions that those lead, and whatever
    carries this process's mark. Threads of the kernel are nobody's: what they do (network
    interrupts, mostly) the trial itself causes.
    """

    def __init__(self) -> None:
        self.before = _scene()

    def noise(self) -> Noise:
        """The shares since; a share is None where the system does not tell."""
        after = _scene()
        found = others(self.before, after)
        return Noise(
            steal_share=stolen_share(self.before, after),
            others_cores=None if found is None else found.cores,
            others_within_cores=None if found is None else found.within,
            watched_s=(after.at_ns - self.before.at_ns) / 1e9,
        )


def stolen_share(before: Scene, after: Scene) -> float | None:
    """Of the cores' time, what the hypervisor took."""
    common = before.cores.keys() & after.cores.keys()
    if not common or after.at_ns <= before.at_ns:
        return None
    ticks = sum(after.cores[cpu].stolen - before.cores[cpu].stolen for cpu in common)
    return ticks * TICK_NS / (after.at_ns - before.at_ns) / len(common)


def _scene() -> Scene:
    """Everything that can be seen now."""
    me = os.getpid()
    entries = [each for pid in everybody() if (each := entry(pid))]
    ours = {me} | below(entries, me)
    ours |= {
        each.pid
        for each in entries
        if not each.kernel and each.pid not in ours and keeper.carries(each.pid, f"{me}-")
    }
    kernel = frozenset(each.pid for each in entries if each.kernel)
    began_ns = time.perf_counter_ns()
    used = usage(each for each in entries if not each.kernel)
    ended_ns = time.perf_counter_ns()
    return Scene((began_ns + ended_ns) // 2, used, frozenset(ours), kernel, _cores())


def _number_after(path: str, pattern: str, unit: int) -> int | None:
    """The number behind a name in one of the kernel's text files, in bytes."""
    try:
        match = re.search(rf"^{pattern}\s+(\d+)", Path(path).read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * unit if match else None


def _page_bytes() -> int:
    return os.sysconf("SC_PAGESIZE")


def _larger(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)
