"""How clients and work fall on a server's processes, or on the event loops of its threads.

The clients of a process are the established connections among its descriptors. Threads share
the descriptors of their process, but a loop that waits in epoll shows which sockets it waits
for. Both are read when everything else has been: listing descriptors makes an object in the
kernel for each, which would count as memory of the server.
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..model import Worker
from .processes import LINUX, Process, Used, spent_ns, threads

WORKERS_MAX = 64  # with more processes or threads, neither is read
_ESTABLISHED, _LISTENING = b"01", b"0A"  # states of a socket in /proc/net/tcp


def clients(pids: Sequence[int], started: Sequence[int], port: int | None) -> dict[int, int]:
    """How many clients each worker holds: each process by pid, or each thread of a single one.

    pids: all processes of the server. started: those that the suite started. port: the
    server's. A process is a worker if it holds a client. One that the suite started is also a
    worker without any, unless what it started itself serves in its place. A thread is a worker
    if it waits for clients in an epoll of its own. Empty for more than WORKERS_MAX of them, and
    where the system does not say.
    """
    several = len(pids) if len(pids) != 1 else threads(pids) or 0
    if not LINUX or port is None or not 1 < several <= WORKERS_MAX:
        return {}
    try:
        connections, listening = _sockets(port)
        if len(pids) == 1:
            return _by_thread(pids[0], connections, listening)
        held = {pid: len(connections & _opened(pid)) for pid in pids}
        served_for = {os.getsid(pid) for pid, count in held.items() if count}
    except OSError:
        return {}
    return {
        pid: count
        for pid, count in held.items()
        if count or (pid in started and pid not in served_for)
    }


def thread_times(pids: Sequence[int]) -> dict[int, int]:
    """CPU time in ns that each thread of a server of one process has used, by thread id.

    Exact to a tick of the kernel. Empty for several processes, for a single thread, for more
    than WORKERS_MAX threads, and where the system does not say.
    """
    found = {}
    if LINUX and len(pids) == 1 and 1 < (threads(pids) or 0) <= WORKERS_MAX:
        with suppress(OSError):
            for task in Path(f"/proc/{pids[0]}/task").iterdir():
                with suppress(OSError):  # this thread has ended
                    found[int(task.name)] = int((task / "schedstat").read_bytes().split()[0])
    return found


def workers(
    held: Mapping[int, int],
    used: tuple[Mapping[Process, Used], Mapping[Process, Used]],
    times: tuple[Mapping[int, int], Mapping[int, int]],
    scale: float,
) -> tuple[Worker, ...]:
    """A server's workers, if it has several, each with its CPU time between two readings × scale.

    held: the clients of each. used, times: the readings, of the processes and of the threads.
    """
    before, after = times
    if len(held) < 2:
        return ()
    ours = {pid for reading in used for pid, _ in reading}
    spent = {
        each: spent_ns(*used, {each})
        if each in ours
        else after[each] - before[each]
        if each in before and each in after
        else None
        for each in held
    }
    return tuple(
        Worker(None if ns is None else ns / 1e9 * scale, held[each])
        for each, ns in sorted(spent.items())
    )


def _by_thread(pid: int, connections: set[int], listening: set[int]) -> dict[int, int]:
    """How many clients each thread that waits for some holds; empty when not all are found."""
    waits = {}  # epoll's descriptor → the thread
    for task in Path(f"/proc/{pid}/task").iterdir():
        words = (task / "syscall").read_text().split()  # its number, then its arguments
        if len(words) > 3:
            waits[int(words[1], 16)] = int(task.name)
    held = {}
    for descriptor, thread in waits.items():
        watched = _watched(pid, descriptor)
        if watched & (connections | listening):
            held[thread] = len(watched & connections)
    return held if sum(held.values()) == len(connections) else {}


def _sockets(port: int) -> tuple[set[int], set[int]]:
    """The inodes of this end of all connections to a port, and of its listening sockets."""
    local = b":%04X" % port
    found: dict[bytes, set[int]] = {_ESTABLISHED: set(), _LISTENING: set()}
    for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in path.read_bytes().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(local) and fields[3] in found:
                    found[fields[3]].add(int(fields[9]))
    return found[_ESTABLISHED] - {0}, found[_LISTENING]  # 0: in the accept queue


def _opened(pid: int) -> set[int]:
    """The inodes of the sockets that a process has open; empty when it is gone."""
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError), os.scandir(f"/proc/{pid}/fd") as listed:
        for descriptor in listed:
            with suppress(FileNotFoundError):  # it was closed meanwhile
                link = os.readlink(descriptor.path)  # noqa: PTH115 - a Path for each is slow
                if link.startswith("socket:"):
                    found.add(int(link[8:-1]))
    return found


def _watched(pid: int, descriptor: int) -> set[int]:
    """The inodes that an epoll watches; empty for any other descriptor, and for none."""
    text = ""
    with suppress(FileNotFoundError):
        text = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text()
    return {int(inode, 16) for inode in re.findall(r"^tfd:.* ino:([0-9a-f]+)", text, re.MULTILINE)}
