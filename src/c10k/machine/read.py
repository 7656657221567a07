"""Reads what this machine is and allows, from /proc, /sys and system calls."""

import os
import re
import resource
import sysconfig
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import psutil

from ..launch.interpreter import PGO, find_optimised, own_build

MIB = 1024 * 1024
CPUS = "/sys/devices/system/cpu"


class Limits(msgspec.Struct, frozen=True):
    """What the kernel allows; None: unlimited, or not reported."""

    descriptors_soft: int | None = None  # of one process
    descriptors_hard: int | None = None
    user_processes: int | None = None  # threads count as well
    port_low: int | None = None  # for outgoing connections, both ends included
    port_high: int | None = None
    ports_reserved: int = 0  # of these, that the kernel does not hand out
    somaxconn: int | None = None
    tcp_mem_pages: tuple[int, ...] | None = None
    threads_max: int | None = None
    pid_max: int | None = None
    max_map_count: int | None = None
    cgroup_pids: int | None = None
    files_max: int | None = None  # open files of the whole machine
    cgroup_cores: float | None = None
    cgroup_memory_bytes: int | None = None
    privileged: bool = False  # root may raise the hard limit on descriptors


class Activity(msgspec.Struct, frozen=True):
    """What others used of the machine while this process watched it, in cores."""

    seconds: float
    others_cores: float
    steal_cores: float | None


class Facts(msgspec.Struct, frozen=True):
    """Everything that doctor() judges; None where the machine does not report it."""

    limits: Limits = Limits()
    cores_allowed: tuple[int, ...] | None = None
    cores_logical: int | None = None
    siblings: tuple[frozenset[int], ...] = ()  # hyper-threads that are one real core
    governors: tuple[str, ...] = ()
    smt: bool | None = None
    turbo: bool | None = None
    clocksource: str | None = None
    virtual: str | None = None
    memory_available_bytes: int | None = None
    swap_used_bytes: int | None = None
    pressure_percent: dict[str, float] = {}  # cpu, memory, io: "some", 10 s average
    python_optimised: bool | None = None
    python_debug: bool = False
    optimised: str | None = None  # the path of an optimised interpreter, when this one is not
    activity: Activity | None = None


def read_limits() -> Limits:
    """What the kernel allows this process."""
    soft, hard = map(_finite, resource.getrlimit(resource.RLIMIT_NOFILE))
    ports = _numbers("/proc/sys/net/ipv4/ip_local_port_range")
    low, high = (ports[0], ports[1]) if ports and len(ports) == 2 else (None, None)
    reserved = text("/proc/sys/net/ipv4/ip_local_reserved_ports")
    return Limits(
        descriptors_soft=soft,
        descriptors_hard=hard,
        user_processes=_finite(resource.getrlimit(resource.RLIMIT_NPROC)[1]),
        port_low=low,
        port_high=high,
        ports_reserved=_overlap(reserved or "", low or 0, high or 0),
        somaxconn=number("/proc/sys/net/core/somaxconn"),
        tcp_mem_pages=_numbers("/proc/sys/net/ipv4/tcp_mem"),
        threads_max=number("/proc/sys/kernel/threads-max"),
        pid_max=number("/proc/sys/kernel/pid_max"),
        max_map_count=number("/proc/sys/vm/max_map_count"),
        cgroup_pids=_least(_cgroup("pids", "pids.max")),
        files_max=number("/proc/sys/fs/file-max"),
        cgroup_cores=_quota(),
        cgroup_memory_bytes=_least(_cgroup("memory", "memory.max", "memory.limit_in_bytes")),
        privileged=os.geteuid() == 0,
    )


def read_facts(watch_s: float = 1.0) -> Facts:
    """Everything that doctor() judges; watches the machine's CPU for watch_s seconds."""
    allowed = cores_allowed()
    configured = sysconfig.get_config_var("CONFIG_ARGS")
    optimised = PGO in own_build() if configured else None
    return Facts(
        limits=read_limits(),
        cores_allowed=None if allowed is None else tuple(allowed),
        cores_logical=os.cpu_count(),
        siblings=sibling_groups(allowed or ()),
        governors=governors(),
        smt=smt_active(),
        turbo=turbo_on(),
        clocksource=clock(),
        virtual=hypervisor(),
        memory_available_bytes=psutil.virtual_memory().available,
        swap_used_bytes=psutil.swap_memory().used,
        pressure_percent=_pressures(),
        python_optimised=optimised,
        optimised=found.path if optimised is False and (found := find_optimised()) else None,
        python_debug=bool(sysconfig.get_config_var("Py_DEBUG")),
        activity=read_activity(watch_s),
    )


def read_activity(watch_s: float) -> Activity:
    """The CPU that other processes use and a hypervisor steals, over watch_s seconds."""
    before, own, began = psutil.cpu_times(), time.process_time(), time.monotonic()
    time.sleep(watch_s)
    after, spent = psutil.cpu_times(), time.process_time() - own
    seconds = time.monotonic() - began

    def used(kind: str) -> float:
        return float(getattr(after, kind, 0.0) - getattr(before, kind, 0.0))

    busy = sum(map(used, ("user", "nice", "system", "irq", "softirq")))
    stolen = max(0.0, used("steal")) / seconds if hasattr(after, "steal") else None
    return Activity(seconds, max(0.0, busy - spent) / seconds, stolen)


def text(path: str | Path) -> str | None:
    """A file's text without blanks at its ends; None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number(path: str) -> int | None:
    """The first number in a file of numbers; None where it is not such a file."""
    numbers = _numbers(path)
    return numbers[0] if numbers else None


def _numbers(path: str) -> tuple[int, ...] | None:
    words = (text(path) or "").split()
    return tuple(map(int, words)) if words and all(map(str.isdecimal, words)) else None


def _finite(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY or limit < 0 else limit


def _overlap(ranges: str, low: int, high: int) -> int:
    """How many ports from low to high are in a list such as 8080,9000-9010."""
    taken = 0
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        taken += max(0, min(int(last or first), high) - max(int(first), low) + 1)
    return taken


def _cgroup(controller: str, name: str, name_v1: str = "") -> list[str]:
    """The values of a control file in this process's group and in all groups above it.

    By cgroups(7), version 2 has one tree, and its line in /proc/self/cgroup is 0::/path;
    version 1 has a tree for each controller.
    """
    values = []
    for line in (text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, file = Path("/sys/fs/cgroup"), name
        elif controller in controllers.split(","):
            root, file = Path("/sys/fs/cgroup") / controller, name_v1 or name
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if (value := text(folder / file)) is not None:
                values.append(value)
            if folder == root:
                break
    return values


def _least(values: Sequence[str]) -> int | None:
    # Version 1 writes "no limit" as the greatest multiple of a page.
    numbers = [int(value) for value in values if value.isdecimal() and int(value) < 2**62]
    return min(numbers, default=None)


def _quota() -> float | None:
    """How much CPU time the control group may use, in cores."""
    pairs = [value.split() for value in _cgroup("cpu", "cpu.max")]
    amounts, periods = (_cgroup("cpu", "", f"cpu.cfs_{part}_us") for part in ("quota", "period"))
    pairs += [list(pair) for pair in zip(amounts, periods, strict=False)]
    # "max" in version 2 and -1 in version 1 mean that there is no quota.
    quotas = [int(pair[0]) / int(pair[1]) for pair in pairs if pair[0].isdecimal()]
    return min(quotas, default=None)


def cores_allowed() -> list[int] | None:
    """The cores that this process may use; None where the system cannot pin."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def sibling_groups(cores: Iterable[int]) -> tuple[frozenset[int], ...]:
    """The hyper-threads of each real core that these cores are part of."""
    groups = dict.fromkeys(map(_siblings, cores))
    return tuple(group for group in groups if group)


def _siblings(core: int) -> frozenset[int]:
    """A core and the other hyper-threads of its real core; empty where that is not reported."""
    siblings: set[int] = set()
    listed = text(f"{CPUS}/cpu{core}/topology/thread_siblings_list") or ""
    for part in filter(None, listed.split(",")):
        first, _, last = part.partition("-")
        siblings.update(range(int(first), int(last or first) + 1))
    return frozenset(siblings)


def governors() -> tuple[str, ...]:
    files = Path(CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({name for file in files if (name := text(file))}))


def smt_active() -> bool | None:
    value = text(f"{CPUS}/smt/active")
    return None if value is None else value == "1"


def turbo_on() -> bool | None:
    if (value := text(f"{CPUS}/intel_pstate/no_turbo")) is not None:
        return value == "0"
    if (value := text(f"{CPUS}/cpufreq/boost")) is not None:
        return value == "1"
    return None


def clock() -> str | None:
    return text("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def hypervisor() -> str | None:
    """The kind of virtual machine that this is; None where it does not look like one."""
    product = text("/sys/class/dmi/id/product_name") or ""
    vendor = text("/sys/class/dmi/id/sys_vendor") or ""
    flagged = re.search(r"^flags\s*:.*\bhypervisor\b", text("/proc/cpuinfo") or "", re.MULTILINE)
    kinds = r"KVM|QEMU|VMware|VirtualBox|Virtual Machine|Xen|Amazon EC2|Google Compute"
    named = re.search(kinds, f"{vendor} {product}")
    if flagged or (named and "metal" not in product):
        return named[0] if named else text("/sys/hypervisor/type") or "unnamed hypervisor"
    return None


def mitigations() -> list[str] | None:
    """The processor's known weaknesses that apply here, and what the kernel does about each."""
    folder = Path(f"{CPUS}/vulnerabilities")
    if not folder.is_dir():
        return None
    states = [(file.name, text(file) or "") for file in sorted(folder.iterdir())]
    return [f"{name}: {state}" for name, state in states if not state.startswith("Not affected")]


def _pressures() -> dict[str, float]:
    found = {}
    for kind in ("cpu", "memory", "io"):
        if match := re.match(r"some avg10=([\d.]+)", text(f"/proc/pressure/{kind}") or ""):
            found[kind] = float(match[1])
    return found
