"""What the server uses and holds, what the kernel holds for it, and what else the machine does.

While a slice is measured only the length of the accept queue is read, by one system call on
the suite's own socket, because reading more would disturb the trial. The server's CPU time is
read just before the slice and just after it. The time between these two readings is a little
longer than the slice, so the CPU time is taken as a rate.

On Linux /proc is read here and not by psutil. psutil has neither page tables, nor the memory
of the kernel's stacks and of sockets, nor the counters of TCP; its PSS includes mapped files;
and it numbers cores by their position, which is wrong when a core is offline.
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
from . import keeper, lock, spread
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
    """What processes hold together, and what the kernel holds for the whole machine.

    A process that is gone holds nothing. None when all are gone, or the system does not say.

    pss_bytes leaves mapped files out. The interpreter's pages are shared with the client's
    process, so their part of the PSS falls when that process starts, whatever the server
    does. It includes the touched part of the threads' stacks. The kernel reports its stacks,
    its objects (slab) and the buffers of sockets for the whole machine only, so they include
    those of the clients. Bytes that wait in a socket's buffer are partly counted as slab as
    well, so a reading is taken when none wait.
    """
    machine = {  # first, because reading the files below makes objects in the kernel
        "kernel_stacks_bytes": _number_after("/proc/meminfo", "KernelStack:", 1024),
        "sockets_bytes": _number_after(
            "/proc/net/sockstat", "TCP:.* mem", os.sysconf("SC_PAGESIZE")
        ),
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
    """Memory in bytes that is available without swapping; cheap enough to read at any time."""
    if LINUX and (found := re.search(rb"MemAvailable:\s+(\d+)", os.pread(_meminfo(), 512, 0))):
        return int(found[1]) * 1024
    return int(psutil.virtual_memory().available)


@functools.cache
def _meminfo() -> int:
    """A descriptor that stays open, as opening the file costs more than reading its beginning."""
    return os.open("/proc/meminfo", os.O_RDONLY | os.O_CLOEXEC)


def listen_overflows() -> int | None:
    """How many connections the machine's listeners have dropped because their queue was full."""
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

    idle: int  # including time that it waited for a device
    interrupts: int  # hard and soft, unless they count as time of the interrupted process
    hard: int  # the hard ones of these
    stolen: int  # by the hypervisor
    total: int


def cores_of(stat: str) -> dict[int, Core]:
    """The contents of /proc/stat, by core."""
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
    """How many of these cores were busy, with anything; None where the system does not say.

    It is what was not idle: the kernel measures idle time, but only samples most other kinds.
    """
    wanted = set(cpus)
    if not wanted or elapsed_ns <= 0 or not wanted <= before.keys() & after.keys():
        return None
    if all(before[cpu].total == after[cpu].total for cpu in wanted):
        return None  # on some machines /proc/stat never changes
    idle_ns = sum(after[cpu].idle - before[cpu].idle for cpu in wanted) * TICK_NS
    return min(max(0.0, len(wanted) - idle_ns / elapsed_ns), float(len(wanted)))


def interrupts_apart(config: str | None, cores: Mapping[int, Core]) -> bool | None:
    """Whether the CPU clock of a process leaves out the interrupts that occur while it runs.

    The kernel's configuration says so (CONFIG_IRQ_TIME_ACCOUNTING). Where it cannot be read,
    any time of hard interrupts shows it, because a kernel that only samples never sees such
    time. None: unknown.
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
    """The CPU time that a server's processes have used, and the state of the machine's cores."""

    at_ns: int  # the middle of the reading, time.perf_counter_ns()
    used: dict[Process, Used]
    cores_at_ns: int
    cores: dict[int, Core]
    threads: dict[int, int] = {}  # noqa: RUF012 - CPU time of each, ns; see spread.thread_times()


class Watch:
    """The readings of one trial, from the server's first echo to its last."""

    def __init__(
        self,
        pids: Sequence[int],
        queue: Callable[[], tuple[int, int] | None],
        cpus: Sequence[int] = (),
        port: int | None = None,
    ) -> None:
        """Takes the readings from before any client comes.

        queue returns the accept queue's length and limit, or None where they are unknown.
        cpus: the cores that the server is pinned to, and has for itself. port: None if it has none.
        """
        self.pids = pids
        self.queue = queue
        self.cpus = tuple(cpus)
        self.port = port
        self.clients: dict[int, int] = {}
        self.before = memory(tree(pids))
        self.after: Memory | None = None
        self.at_load: Memory | None = None
        self.gil: bool | None = None
        self.overflows_before = listen_overflows()
        self.processes_max: int | None = None
        self.threads_max: int | None = None
        self.descriptors_max: int | None = None
        self.accept_queue_max: int | None = None
        self.accept_queue_limit: int | None = None
        self.first: _Reading | None = None
        self.last: _Reading | None = None

    def queue_look(self) -> None:
        """Reads the accept queue's length: the only reading allowed while a slice is measured."""
        if seen := self.queue():
            self.accept_queue_max = _larger(self.accept_queue_max, seen[0])
            self.accept_queue_limit = seen[1]

    def connected(self) -> None:
        """Reads what is held when all clients have had one echo and wait."""
        pids = tree(self.pids)
        self.after = memory(pids)
        self._count(pids, held=True)

    def begin(self) -> None:
        """Reads the CPU time just before the slice."""
        self.first = self._read(tree(self.pids))

    def end(self) -> None:
        """Reads the CPU time just after the slice."""
        pids = tree(self.pids)
        self.last = self._read(pids)
        self._count(pids)

    def loaded(self) -> None:
        """Reads what is held after the slice, while the clients are still connected."""
        self.gil = lock.any_is_on(self.pids)
        pids = tree(self.pids)
        self.at_load = memory(pids)
        self._count(pids, held=True)
        self.clients = spread.clients(pids, self.pids, self.port)

    def use(self, duration_s: float | None = None) -> ServerUse:
        """All readings of the trial, with the CPU time of a slice of that length.

        None: of all the time between begin() and end().
        """
        overflows = listen_overflows()
        if overflows is not None and self.overflows_before is not None:
            overflows -= self.overflows_before
        cpu_s = busy = elapsed_s = workers = None
        first, last = self.first, self.last
        if first and last and first.used and last.used and last.at_ns > first.at_ns:
            elapsed_s = (last.at_ns - first.at_ns) / 1e9
            scale = (elapsed_s if duration_s is None else duration_s) / elapsed_s
            cpu_s = spent_ns(first.used, last.used) / 1e9 * scale
            busy = self.busy(self.cpus)
            used, times = (first.used, last.used), (first.threads, last.threads)
            workers = spread.workers(self.clients, used, times, scale)
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
            gil=self.gil,
            workers=workers or (),
        )

    def busy(self, cpus: Iterable[int]) -> float | None:
        """How many of these cores were busy between begin() and end(); see busy_cores()."""
        if not (self.first and self.last):
            return None
        elapsed_ns = self.last.cores_at_ns - self.first.cores_at_ns
        return busy_cores(self.first.cores, self.last.cores, cpus, elapsed_ns)

    def _read(self, pids: Sequence[int]) -> _Reading:
        entries = [each for pid in pids if (each := entry(pid))]
        began_ns = time.perf_counter_ns()
        used = usage(entries)
        ended_ns = time.perf_counter_ns()
        at_ns = (began_ns + ended_ns) // 2
        return _Reading(at_ns, used, ended_ns, _cores(), spread.thread_times(pids))

    def _count(self, pids: Sequence[int], *, held: bool = False) -> None:
        self.processes_max = _larger(self.processes_max, len(pids))
        self.threads_max = _larger(self.threads_max, threads(pids))
        if held:
            self.descriptors_max = _larger(self.descriptors_max, descriptors(pids))


# -- what else the machine does -------------------------------------------------------------


class Scene(NamedTuple):
    """The state of all visible processes and of the cores at one moment."""

    at_ns: int
    used: dict[Process, Used]
    ours: frozenset[int]
    kernel: frozenset[int]  # threads of the kernel
    cores: dict[int, Core]


class Others(NamedTuple):
    """How many cores other processes kept busy, and the greatest error of that."""

    cores: float
    within: float  # cores


def others(before: Scene, after: Scene) -> Others | None:
    """How many cores other processes used between two scenes; None where it is unknown.

    Where the threads of the kernel are visible, every process is. Then the advance of the other
    processes' clocks is known to the microsecond, and the time of their children that have
    ended to two ticks for each process that waited for some. In a PID namespace, or where
    /proc hides the processes of other users, the cores' own counters are used: all that was
    neither idle, nor stolen, nor an interrupt, minus what our processes used. That is a lower
    bound, as our clocks may include interrupts as well. It includes the kernel's threads.
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
    """What the machine did besides the suite, from the making of this object to noise().

    The suite is this process, what it started, the sessions that those processes lead, and all
    that carries this process's mark. Threads of the kernel do not count as others, because what
    they do (mostly network interrupts) is caused by the trial itself.
    """

    def __init__(self) -> None:
        self.before = _scene()

    def noise(self) -> Noise:
        """What the machine did so far; a field is None where the system does not say."""
        after = _scene()
        found = others(self.before, after)
        return Noise(
            steal_share=stolen_share(self.before, after),
            others_cores=None if found is None else found.cores,
            others_within_cores=None if found is None else found.within,
            watched_s=(after.at_ns - self.before.at_ns) / 1e9,
        )


def stolen_share(before: Scene, after: Scene) -> float | None:
    """The share of the cores' time that the hypervisor took; None where it is unknown."""
    common = before.cores.keys() & after.cores.keys()
    if not common or after.at_ns <= before.at_ns:
        return None
    ticks = sum(after.cores[cpu].stolen - before.cores[cpu].stolen for cpu in common)
    return ticks * TICK_NS / (after.at_ns - before.at_ns) / len(common)


def _scene() -> Scene:
    """The scene at this moment."""
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
    """The number after a name in one of the kernel's text files, times unit; None without one."""
    try:
        match = re.search(rf"^{pattern}\s+(\d+)", Path(path).read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * unit if match else None


def _larger(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)
