"""What strace, perf and the kernel write → counts. Pure."""

import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

# Linux has other names for some tracepoints than strace for the calls.
_TRACEPOINTS = {"fstat": "newfstat", "stat": "newstat", "lstat": "newlstat", "uname": "newuname"}
_TRACEPOINT = "syscalls:sys_enter_"


class Switches(NamedTuple):
    """How often a thread left its core: because it waited, or because it was made to."""

    voluntary: int
    involuntary: int


def strace_counts(summary: str) -> Counter[str]:
    """System calls by name, from what `strace -c` writes.

    A line is "% time, seconds, usecs/call, calls, errors, syscall", without errors where there
    were none. There is a table for each kind of programs (64 bit, 32 bit), and a total.
    """
    found = Counter[str]()
    for line in summary.splitlines():
        match = re.fullmatch(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z_]\w*)", line)
        if match and match[2] != "total":
            found[match[2]] += int(match[1])
    return found


def perf_counts(csv: str) -> dict[str, int | None]:
    """Events by name, from what `perf stat -x,` writes; None where the machine has no counter.

    System calls have the names that strace gives them. A line is "count, unit, event, …"; the
    count is <not supported> or <not counted> where there is none.
    """
    found: dict[str, int | None] = {}
    for line in csv.splitlines():
        fields = line.split(",")
        if line.startswith("#") or len(fields) < 4:
            continue
        count, event = fields[0].strip(), fields[2].strip()
        name = event_name(event)
        found[name] = int(count) if count.isdecimal() else None
    return found


def tracepoint(call: str) -> str:
    """The name of perf's event for a system call."""
    return _TRACEPOINT + _TRACEPOINTS.get(call, call)


def event_name(event: str) -> str:
    """instructions:u → instructions; the event of a system call → the call's name."""
    if event.startswith(_TRACEPOINT):
        name = event.removeprefix(_TRACEPOINT)
        return {there: call for call, there in _TRACEPOINTS.items()}.get(name, name)
    return event.partition(":")[0]


def switches(status: str) -> Switches | None:
    """A thread's switches so far, from /proc/PID/task/TID/status; None where it has none."""
    found = dict(re.findall(r"^(voluntary|nonvoluntary)_ctxt_switches:\s+(\d+)$", status, re.M))
    if len(found) < 2:
        return None
    return Switches(int(found["voluntary"]), int(found["nonvoluntary"]))


def tracer(status: str) -> int:
    """The process that traces a thread, from its status; 0: none."""
    found = re.search(r"^TracerPid:\s+(\d+)$", status, re.M)
    return int(found[1]) if found else 0


def added(before: dict[int, Switches], after: dict[int, Switches]) -> Switches:
    """What threads added between two readings, by thread; one that is new counts from zero."""
    none = Switches(0, 0)
    return Switches(
        _sum(each.voluntary - before.get(tid, none).voluntary for tid, each in after.items()),
        _sum(each.involuntary - before.get(tid, none).involuntary for tid, each in after.items()),
    )


def titled(svg: str, title: str) -> str:
    """A flame graph of py-spy with this title, in place of the command with all its paths."""
    return re.sub(
        r'(<text id="title"[^>]*>)[^<]*', lambda found: found[1] + escape(title), svg, count=1
    )


def _sum(numbers: Iterable[int]) -> int:
    return sum(max(0, number) for number in numbers)
