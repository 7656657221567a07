"""How clients and work fall on a server's processes or threads.

The clients of a process are the established connections to the server's port among its
descriptors. Listing descriptors makes an object in the kernel for each, which would count as
memory of the server, so they are listed last, when everything else has been read. Threads
share the descriptors of their process, so of them only the CPU time is known.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..model import Worker
from .processes import LINUX, Process, Used, spent_ns, threads

WORKERS_MAX = 64  # with more processes or threads, neither is read


def clients(pids: Sequence[int], started: Sequence[int], port: int | None) -> dict[int, int]:
    """How many clients each process that serves holds, by pid.

    pids: all processes of the server. started: those that the suite started. port: the
    server's. A process serves if it holds a client. One that the suite started also serves
    without any, unless what it started itself serves in its place. Empty for a single process,
    for more than WORKERS_MAX, and where the system does not say.
    """
    if port is None or not 1 < len(pids) <= WORKERS_MAX:
        return {}
    try:
        connections = _established(port)
        held = {pid: len(connections & _sockets(pid)) for pid in pids}
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
    if not LINUX or len(pids) != 1 or not 1 < (threads(pids) or 0) <= WORKERS_MAX:
        return {}
    found = {}
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
    """A server's processes if several serve, else its threads; each with its CPU time × scale.

    held: clients of each process. used, times: two readings, of the processes and of the
    threads. A thread that is not in both is left out.
    """
    if len(held) > 1:
        return tuple(
            Worker(spent_ns(*used, {pid}) / 1e9 * scale, count)
            for pid, count in sorted(held.items())
        )
    before, after = times
    return tuple(
        Worker((after[thread] - before[thread]) / 1e9 * scale)
        for thread in sorted(before.keys() & after.keys())
    )


def _established(port: int) -> set[str]:
    """The sockets of this end of all connections to a port, named as descriptors name them."""
    local = b":%04X" % port
    found = set()
    for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in path.read_bytes().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(local) and fields[3] == b"01":  # TCP_ESTABLISHED
                    found.add(f"socket:[{int(fields[9])}]")
    return found


def _sockets(pid: int) -> set[str]:
    """What the descriptors of a process refer to; empty when it is gone."""
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it was closed meanwhile
                found.add(os.readlink(descriptor))  # noqa: PTH115 - a Path for each is slow
    return found
