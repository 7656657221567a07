"""What this machine is and what it allows.

Reading and judging are kept apart: read_*() ask the kernel and put None where it does not
tell (macOS knows little of this), the rest are pure functions over what was read.
Nothing here changes the machine. What is wrong comes with the command that mends it, for
a person to type.

The environment is published with the results. It names hardware, kernel and interpreter,
never the host, a user, a path or an environment variable.
"""

import math
import os
import platform
import re
import resource
import subprocess
import sys
import sysconfig
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil

from . import watch

BACKLOG = 4096  # what the launcher listens with; a smaller somaxconn cuts it short
RESERVE = 64  # descriptors a process needs besides one per client
WORKERS_MAX = 4
_MIB = 1024 * 1024
_CLIENT_BYTES = 40 * 1024  # what a client takes of the machine, with a thread of its own
_GENEROUS_BYTES = 100 * 1024  # a client's, on both sides and in the kernel, with a busy stack
_CPUS = "/sys/devices/system/cpu"
_VARIES = "moment"  # the group of an environment that two runs never share

Severity = Literal["ok", "note", "warn"]
Bound = Literal["", "descriptors", "ports", "memory"]


class Limits(msgspec.Struct, frozen=True):
    """What the kernel allows; None: unlimited, or not told."""

    descriptors_soft: int | None = None  # of one process
    descriptors_hard: int | None = None
    user_processes: int | None = None  # threads count, too
    port_low: int | None = None  # for outgoing connections, both ends included
    port_high: int | None = None
    ports_reserved: int = 0  # of these, kept out of the kernel's hands
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
    """What else the machine did while this process watched, in cores."""

    seconds: float
    others_cores: float
    steal_cores: float | None


class Facts(msgspec.Struct, frozen=True):
    """All that doctor() judges; None: the machine does not tell."""

    limits: Limits = Limits()
    cores_allowed: tuple[int, ...] | None = None
    cores_logical: int | None = None
    beside_first: tuple[int, ...] = ()  # hyper-threads of the first allowed core
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
    activity: Activity | None = None


class Capacity(msgspec.Struct, frozen=True):
    """How many clients fit. bound, reason and remedy are "" when as many as wanted do."""

    room: int | None  # None: no limit told
    wanted: int
    bound: Bound = ""
    reason: str = ""
    remedy: str = ""

    @property
    def clients(self) -> int:
        """As many of those wanted as fit."""
        return self.wanted if self.room is None else min(self.room, self.wanted)

    @property
    def enough(self) -> bool:
        return self.clients == self.wanted


class Pinning(msgspec.Struct, frozen=True):
    """Which cores the server and each client worker get; None: not pinned, note says why."""

    server: tuple[int, ...] | None
    clients: tuple[int, ...] | None  # one worker a core
    workers: int
    note: str
    one_core: bool = False  # for server and clients together


class Finding(msgspec.Struct, frozen=True):
    """One thing that doctor looked at, and what mends it."""

    what: str
    severity: Severity
    detail: str
    remedy: str = ""


# -- what fits -----------------------------------------------------------------------------


def capacity(
    wanted: int,
    limits: Limits | None = None,
    *,
    addresses: int = 1,
    processes: int = 1,
    budget_bytes: int | None = None,
    each_bytes: int = _CLIENT_BYTES,
) -> Capacity:
    """How many clients fit, of wanted; limits: None reads this machine's.

    Each of the server's processes needs a descriptor per client that it serves and RESERVE
    more; the launcher raises the soft limit to the hard one, so the hard one counts. (The
    clients' side starts as many workers as it needs.) Each of the clients' source addresses
    has the local port range. budget_bytes: memory that a trial may take, of which a client
    takes each_bytes. Threads are no reason to refuse: a server that runs out of them is a result.
    """
    limits = read_limits() if limits is None else limits
    needed = math.ceil((wanted / processes + RESERVE) / 1000) * 1000
    rooms: list[tuple[int, Bound, str, str]] = []
    if (hard := limits.descriptors_hard) is not None:
        why = f"{hard:,} descriptors per process (ulimit -n)"
        raising = f"ulimit -n {needed}"
        if not limits.privileged:  # the limit is the hard one already
            raising = f"sudo prlimit --pid $$ --nofile={needed}:{needed}"
        rooms.append((max(0, hard - RESERVE) * processes, "descriptors", why, raising))
    if limits.port_low is not None and limits.port_high is not None:
        ports = max(0, limits.port_high - limits.port_low + 1 - limits.ports_reserved)
        why = f"{ports:,} local ports (net.ipv4.ip_local_port_range)"
        raising = 'sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
        rooms.append((ports * addresses, "ports", why, raising))
    if budget_bytes is not None:
        why = f"{budget_bytes // _MIB:,} MiB may be taken, at {each_bytes // 1024} KiB a client"
        rooms.append((budget_bytes // each_bytes, "memory", why, "--memory 80%"))
    if not rooms:
        return Capacity(None, wanted)
    room, bound, why, remedy = min(rooms)
    if room >= wanted:
        return Capacity(room, wanted)
    reason = f"at most {room:,} clients fit: {why}; type '{remedy}' to allow more"
    return Capacity(room, wanted, bound, reason, remedy)


def worker_clients(limits: Limits | None = None) -> int | None:
    """How many clients one worker can hold; None: no limit told."""
    hard = (read_limits() if limits is None else limits).descriptors_hard
    return None if hard is None else max(1, hard - RESERVE)


def pinning(
    allowed: Sequence[int] | None,
    beside: Collection[int] = (),
    logical: int | None = None,
    processes: int = 1,
) -> Pinning:
    """Splits the allowed cores: the first for the server, one for each client worker.

    A server of several processes gets one core for each of them, at most half of all.

    allowed: None where the system cannot pin; then logical, the number of cores, says how
    many workers to start. beside: hyper-threads that share the first core; they are left
    idle when other cores are there.
    """
    if allowed is None:
        workers = min(WORKERS_MAX, max(1, (logical or 1) - 1))
        return Pinning(None, None, workers, "not pinned: this system cannot pin processes")
    served = max(1, min(processes, len(allowed) // 2))
    mine, others = sorted(allowed)[:served], sorted(allowed)[served:]
    if not others:
        return Pinning(None, None, 1, "not pinned: one core for server and clients", one_core=True)
    apart = [core for core in others if core not in beside]
    clients = tuple((apart or others)[:WORKERS_MAX])
    note = f"server on {_cores(mine)}, clients on {_cores(clients)}"
    if not apart:
        note += ", hyper-threads of one core"
    elif set(others) & set(beside):
        note += f"; {_cores(sorted(set(others) & set(beside)))} left idle beside the server"
    return Pinning(tuple(mine), clients, len(clients), note)


def _cores(cores: Sequence[int]) -> str:
    return ("core " if len(cores) == 1 else "cores ") + ", ".join(map(str, cores))


def cores(processes: int = 1) -> Pinning:
    """pinning() of this machine's cores, as this process may use them."""
    allowed = cores_allowed()
    return pinning(allowed, _beside(min(allowed)) if allowed else (), os.cpu_count(), processes)


# -- doctor --------------------------------------------------------------------------------


def doctor(clients: int = 10_000) -> list[Finding]:
    """What will spoil or limit a session on this machine; watches it for a second."""
    return findings(read_facts(), clients)


def findings(facts: Facts, clients: int = 10_000) -> list[Finding]:
    """Judges what was read. What the machine does not tell of, no finding mentions."""
    return [
        *_about_cores(facts),
        *_about_company(facts),
        *_about_limits(facts, clients),
        *_about_memory(facts, clients),
        *_about_clock_and_python(facts),
    ]


def _about_cores(facts: Facts) -> Iterator[Finding]:
    count = facts.cores_logical if facts.cores_allowed is None else len(facts.cores_allowed)
    if count is not None:
        pinned = pinning(facts.cores_allowed, facts.beside_first, count)
        quota = facts.limits.cgroup_cores
        if quota is not None and quota < min(count, 1 + pinned.workers):
            detail = f"the control group may use {quota:g} of {count} cores, and waits beyond that"
            remedy = "give the container whole cores: --cpuset-cpus instead of --cpus"
            yield Finding("cores", "warn", detail, remedy)
        elif count == 1:
            yield Finding("cores", "warn", pinned.note, "use a machine with two cores or more")
        else:
            yield Finding("cores", "note" if pinned.server is None else "ok", pinned.note)
    if facts.governors:
        names = ", ".join(facts.governors)
        if facts.governors == ("performance",):
            yield Finding("governor", "ok", names)
        else:
            remedy = "sudo cpupower frequency-set -g performance"
            yield Finding("governor", "warn", f"{names}: the clock follows the load", remedy)
    if facts.turbo:
        remedy = (
            f"echo 1 | sudo tee {_CPUS}/intel_pstate/no_turbo || "
            f"echo 0 | sudo tee {_CPUS}/cpufreq/boost"
        )
        yield Finding("turbo", "note", "on: the clock varies with heat and busy cores", remedy)
    if facts.smt:
        remedy = f"echo off | sudo tee {_CPUS}/smt/control"
        yield Finding("hyper-threading", "note", "on: logical cores share a real one", remedy)


def _about_company(facts: Facts) -> Iterator[Finding]:
    """What else runs here, or beside here."""
    if facts.virtual is not None:
        detail = f"{facts.virtual}: other guests share caches, memory and cores, unseen"
        yield Finding("virtual machine", "note", detail, "compare only figures of one session")
    if facts.activity is not None:
        busy, stolen = facts.activity.others_cores, facts.activity.steal_cores
        detail = f"other processes used {busy:.0%} of a core for {facts.activity.seconds:.1f} s"
        remedy = "stop what can wait: ps -eo pcpu,comm --sort=-pcpu | head"
        yield _threshold("other load", busy <= 0.05, detail, remedy)
        if stolen is not None:
            detail = f"the hypervisor took {stolen:.1%} of a core"
            remedy = "use a machine, or an instance type, with cores of its own"
            yield _threshold("steal", stolen <= 0.01, detail, remedy)
    if facts.pressure_percent:
        waits = ", ".join(f"{kind} {value:g} %" for kind, value in facts.pressure_percent.items())
        detail = f"share of the last 10 s in which tasks waited: {waits}"
        quiet = max(facts.pressure_percent.values()) <= 5
        yield _threshold("pressure", quiet, detail, "wait, or stop what can: top -o %CPU")


def _about_limits(facts: Facts, clients: int) -> Iterator[Finding]:
    limits = facts.limits
    for what, alone in (
        ("descriptors", msgspec.structs.replace(limits, port_low=None)),
        ("ports", msgspec.structs.replace(limits, descriptors_hard=None)),
    ):
        fits = capacity(clients, alone)
        if not fits.enough:
            yield Finding(what, "warn", fits.reason.partition(";")[0], fits.remedy)
        elif fits.room is not None:
            yield Finding(what, "ok", f"enough for {fits.room:,} clients")
    if limits.somaxconn is not None:
        short = limits.somaxconn < BACKLOG
        detail = f"{limits.somaxconn:,}" + short * f": cuts every backlog of {BACKLOG:,} short"
        remedy = f"sudo sysctl -w net.core.somaxconn={BACKLOG}"
        yield _threshold("somaxconn", not short, detail, remedy)
    yield from _about_threads(limits, clients)
    yield from _about_ceiling(facts)


def _about_ceiling(facts: Facts) -> Iterator[Finding]:
    """How many clients the whole machine holds, with processes enough on both sides."""
    limits, rooms = facts.limits, []
    if limits.files_max is not None:
        rooms.append((limits.files_max // 2, "open files (fs.file-max), two a client"))
    if facts.memory_available_bytes is not None:
        held = facts.memory_available_bytes // _CLIENT_BYTES
        rooms.append((held, f"memory, at {_CLIENT_BYTES // 1024} KiB a client"))
    if limits.descriptors_hard is not None and rooms:
        room, why = min(rooms)
        processes = math.ceil(room / max(1, limits.descriptors_hard - RESERVE))
        detail = f"{room:,} clients, by {why}; past one process: --processes {processes}"
        yield Finding("ceiling", "ok", detail)


def _about_threads(limits: Limits, clients: int) -> Iterator[Finding]:
    """A thread per client: the first limit that is too low. Failing there is a result."""
    needed = clients + 1000  # the rest of the system has threads, too
    ample = 4 * needed
    bounds = (
        # the limit, its value, how much of it a thread takes, what raises it
        ("ulimit -u", limits.user_processes, 1, f"ulimit -u {ample}"),
        ("kernel.threads-max", limits.threads_max, 1, f"sudo sysctl -w kernel.threads-max={ample}"),
        ("kernel.pid_max", limits.pid_max, 1, f"sudo sysctl -w kernel.pid_max={ample}"),
        # A thread's stack and its guard page are a mapping each.
        ("vm.max_map_count", limits.max_map_count, 2, f"sudo sysctl -w vm.max_map_count={ample}"),
        ("pids.max", limits.cgroup_pids, 1, f"sudo systemd-run --scope -p TasksMax={ample} bash"),
    )
    told = False
    for what, value, each, remedy in bounds:
        if value is None:
            continue
        told = True
        if value < needed * each:
            detail = f"{what} is {value:,}: a server with a thread per client fails at {clients:,}"
            yield Finding("threads", "note", detail, remedy)
            return
    if told:
        yield Finding("threads", "ok", f"enough for a thread for each of {clients:,} clients")


def _about_memory(facts: Facts, clients: int) -> Iterator[Finding]:
    if facts.memory_available_bytes is not None:
        bound = facts.limits.cgroup_memory_bytes or facts.memory_available_bytes
        available = min(facts.memory_available_bytes, bound)
        needed = clients * _GENEROUS_BYTES
        detail = f"{available // _MIB:,} MiB available, {needed // _MIB:,} for {clients:,} clients"
        remedy = "stop what can wait: ps -eo rss,comm --sort=-rss | head"
        yield _threshold("memory", available >= needed, detail, remedy)
    if facts.swap_used_bytes is not None:
        used = facts.swap_used_bytes // _MIB
        if used:
            detail = f"{used:,} MiB in use: reading it back stops whoever needs it"
            yield Finding("swap", "note", detail, "sudo swapoff -a")
        else:
            yield Finding("swap", "ok", "none in use")


def _about_clock_and_python(facts: Facts) -> Iterator[Finding]:
    if (name := facts.clocksource) is not None:
        folder = "/sys/devices/system/clocksource/clocksource0"
        remedy = f"echo tsc | sudo tee {folder}/current_clocksource"
        if name in ("tsc", "arch_sys_counter"):
            yield Finding("clocksource", "ok", name)
        elif name in ("kvm-clock", "hyperv_clocksource_tsc_page"):
            detail = f"{name}, not tsc; still read without a system call"
            yield Finding("clocksource", "note", detail, remedy)
        else:
            detail = f"{name}: each look at the clock is a slow system call"
            yield Finding("clocksource", "warn", detail, remedy)
    if facts.python_debug:
        remedy = "use a release build of Python"
        yield Finding("python", "warn", "a debug build: several times slower", remedy)
    elif facts.python_optimised:
        yield Finding("python", "ok", "built with --enable-optimizations")
    elif facts.python_optimised is False:
        detail = "built without --enable-optimizations: slower than most releases"
        remedy = "PYTHON_CONFIGURE_OPTS='--enable-optimizations --with-lto' pyenv install VERSION"
        yield Finding("python", "note", detail, remedy)


def _threshold(what: str, fine: bool, detail: str, remedy: str) -> Finding:
    return Finding(what, "ok", detail) if fine else Finding(what, "warn", detail, remedy)


# -- the environment -----------------------------------------------------------------------


def environment(folder: Path | None = None) -> dict[str, Any]:
    """What a result depends on, to be published with it: nested, JSON-able, None: not told.

    folder: the suite's checkout, whose git commit is recorded. All but the group "moment"
    is the same from run to run.
    """
    limits = msgspec.json.decode(msgspec.json.encode(read_limits()))
    return {
        "cpu": {
            "model": _cpu_model() or platform.processor() or platform.machine(),
            "architecture": platform.machine(),
            "cores_logical": os.cpu_count(),
            "cores_allowed": cores_allowed(),
            "governors": list(_governors()),
            "smt": _smt_active(),
            "turbo": _turbo_on(),
            "mitigations": _mitigations(),
            "virtual_machine": _hypervisor(),
        },
        "memory": {"total_mib": psutil.virtual_memory().total // _MIB},
        "system": {
            "platform": platform.system(),
            "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver()).strip() or None,
            "clocksource": _clock(),
            "address_randomisation": _address_randomisation(),
            # whether a process's CPU time leaves out the interrupts in it
            "irq_time_accounting": watch.read_interrupts_apart(),
        },
        "limits": {key: value for key, value in limits.items() if key != "privileged"},
        "python": {
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
            "build": " ".join(platform.python_build()).strip(),
            "compiler": platform.python_compiler(),
            "optimisation": _python_flags(),
            "debug": bool(sysconfig.get_config_var("Py_DEBUG")),
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "gil_enabled": gil_enabled(),
        },
        "suite": _commit(folder) if folder is not None else {"commit": None, "modified": None},
        _VARIES: {
            "load_1min": round(os.getloadavg()[0], 2),
            "memory_available_mib": psutil.virtual_memory().available // _MIB,
        },
    }


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """How environment b differs from a, one line each; what varies from run to run aside."""
    old, new = _flat(a), _flat(b)
    return [
        f"{key}: {_show(old.get(key))} → {_show(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.partition(".")[0] != _VARIES
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _show(value: object) -> str:
    if value is None:
        return "not known"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def gil_enabled() -> bool:
    """Whether the interpreter's global lock is on now; importing an extension can turn it on."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _cpu_model() -> str | None:
    """The processor's name as the kernel has it; None where it does not say."""
    match = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


def _address_randomisation() -> str | None:
    """How far the kernel randomises addresses, by the words of its manual."""
    words = ("No randomization", "Conservative randomization", "Full randomization")
    found = _number("/proc/sys/kernel/randomize_va_space")
    return words[found] if found is not None and found < len(words) else None


def _python_flags() -> list[str]:
    """What of the interpreter's build bears on its speed; the rest of it names paths."""
    configured = sysconfig.get_config_var("CONFIG_ARGS") or ""
    compiled = sysconfig.get_config_var("PY_CFLAGS") or ""
    flags = re.findall(
        r"--(?:enable-optimizations|with-lto|disable-gil|with-pydebug|enable-bolt|with-tail-call-interp"
        r"|enable-experimental-jit)\b(?:=\w+)?",
        configured,
    )
    flags += re.findall(r"(?<!\S)(?:-O\w+|-flto\S*|-march=\S+|-DNDEBUG)(?!\S)", compiled)
    if "deb_system" in sysconfig.get_scheme_names():
        # Debian's rules do both, and strip what would show it from the configuration.
        flags += ["--enable-optimizations", "--with-lto"]
    return sorted(set(flags))


def _commit(folder: Path) -> dict[str, Any]:
    """The commit of a checkout whose top is folder, and whether files differ from it."""

    def git(*words: str) -> str:
        # A lock on the index would be in the way of a person working there.
        command = ["git", "--no-optional-locks", "-C", str(folder), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == folder.resolve():
            changed = git("status", "--porcelain")
            return {"commit": git("rev-parse", "HEAD"), "modified": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        pass
    return {"commit": None, "modified": None}


# -- reading the machine -------------------------------------------------------------------


def read_limits() -> Limits:
    """What the kernel allows this process."""
    soft, hard = map(_finite, resource.getrlimit(resource.RLIMIT_NOFILE))
    ports = _numbers("/proc/sys/net/ipv4/ip_local_port_range")
    low, high = (ports[0], ports[1]) if ports and len(ports) == 2 else (None, None)
    reserved = _text("/proc/sys/net/ipv4/ip_local_reserved_ports")
    return Limits(
        descriptors_soft=soft,
        descriptors_hard=hard,
        user_processes=_finite(resource.getrlimit(resource.RLIMIT_NPROC)[1]),
        port_low=low,
        port_high=high,
        ports_reserved=_overlap(reserved or "", low or 0, high or 0),
        somaxconn=_number("/proc/sys/net/core/somaxconn"),
        tcp_mem_pages=_numbers("/proc/sys/net/ipv4/tcp_mem"),
        threads_max=_number("/proc/sys/kernel/threads-max"),
        pid_max=_number("/proc/sys/kernel/pid_max"),
        max_map_count=_number("/proc/sys/vm/max_map_count"),
        cgroup_pids=_least(_cgroup("pids", "pids.max")),
        files_max=_number("/proc/sys/fs/file-max"),
        cgroup_cores=_quota(),
        cgroup_memory_bytes=_least(_cgroup("memory", "memory.max", "memory.limit_in_bytes")),
        privileged=os.geteuid() == 0,
    )


def read_facts(watch_s: float = 1.0) -> Facts:
    """All that doctor() judges; watches the machine's CPU for watch_s seconds."""
    allowed = cores_allowed()
    flags = _python_flags()
    return Facts(
        limits=read_limits(),
        cores_allowed=None if allowed is None else tuple(allowed),
        cores_logical=os.cpu_count(),
        beside_first=_beside(min(allowed)) if allowed else (),
        governors=_governors(),
        smt=_smt_active(),
        turbo=_turbo_on(),
        clocksource=_clock(),
        virtual=_hypervisor(),
        memory_available_bytes=psutil.virtual_memory().available,
        swap_used_bytes=psutil.swap_memory().used,
        pressure_percent=_pressures(),
        python_optimised="--enable-optimizations" in flags
        if sysconfig.get_config_var("CONFIG_ARGS")
        else None,
        python_debug=bool(sysconfig.get_config_var("Py_DEBUG")),
        activity=read_activity(watch_s),
    )


def read_activity(watch_s: float) -> Activity:
    """CPU used by all but this process, and stolen by a hypervisor, over watch_s seconds."""
    before, own, began = psutil.cpu_times(), time.process_time(), time.monotonic()
    time.sleep(watch_s)
    after, spent = psutil.cpu_times(), time.process_time() - own
    seconds = time.monotonic() - began

    def used(kind: str) -> float:
        return float(getattr(after, kind, 0.0) - getattr(before, kind, 0.0))

    busy = sum(map(used, ("user", "nice", "system", "irq", "softirq")))
    stolen = max(0.0, used("steal")) / seconds if hasattr(after, "steal") else None
    return Activity(seconds, max(0.0, busy - spent) / seconds, stolen)


def _text(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _number(path: str) -> int | None:
    numbers = _numbers(path)
    return numbers[0] if numbers else None


def _numbers(path: str) -> tuple[int, ...] | None:
    words = (_text(path) or "").split()
    return tuple(map(int, words)) if words and all(map(str.isdecimal, words)) else None


def _finite(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY or limit < 0 else limit


def _overlap(ranges: str, low: int, high: int) -> int:
    """How many ports of low to high are in a list such as 8080,9000-9010."""
    taken = 0
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        taken += max(0, min(int(last or first), high) - max(int(first), low) + 1)
    return taken


def _cgroup(controller: str, name: str, name_v1: str = "") -> list[str]:
    """The values of a control file of this process's group and of all groups above it.

    cgroups(7): version 2 has one tree and its line in /proc/self/cgroup is 0::/path;
    version 1 has a tree per controller.
    """
    values = []
    for line in (_text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, file = Path("/sys/fs/cgroup"), name
        elif controller in controllers.split(","):
            root, file = Path("/sys/fs/cgroup") / controller, name_v1 or name
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if (value := _text(folder / file)) is not None:
                values.append(value)
            if folder == root:
                break
    return values


def _least(values: Sequence[str]) -> int | None:
    # Version 1 writes "no limit" as the greatest multiple of a page.
    numbers = [int(value) for value in values if value.isdecimal() and int(value) < 2**62]
    return min(numbers, default=None)


def _quota() -> float | None:
    """Cores' worth of time that the control group may use."""
    pairs = [value.split() for value in _cgroup("cpu", "cpu.max")]
    amounts, periods = (_cgroup("cpu", "", f"cpu.cfs_{part}_us") for part in ("quota", "period"))
    pairs += [list(pair) for pair in zip(amounts, periods, strict=False)]
    # "max" in version 2 and -1 in version 1 are no quota.
    quotas = [int(pair[0]) / int(pair[1]) for pair in pairs if pair[0].isdecimal()]
    return min(quotas, default=None)


def cores_allowed() -> list[int] | None:
    """The cores that this process may use; None where the system cannot pin."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _beside(core: int) -> tuple[int, ...]:
    """The other hyper-threads of a core."""
    listed = _text(f"{_CPUS}/cpu{core}/topology/thread_siblings_list") or ""
    siblings: set[int] = set()
    for part in filter(None, listed.split(",")):
        first, _, last = part.partition("-")
        siblings.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(siblings - {core}))


def _governors() -> tuple[str, ...]:
    files = Path(_CPUS).glob("cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({name for file in files if (name := _text(file))}))


def _smt_active() -> bool | None:
    value = _text(f"{_CPUS}/smt/active")
    return None if value is None else value == "1"


def _turbo_on() -> bool | None:
    if (value := _text(f"{_CPUS}/intel_pstate/no_turbo")) is not None:
        return value == "0"
    if (value := _text(f"{_CPUS}/cpufreq/boost")) is not None:
        return value == "1"
    return None


def _clock() -> str | None:
    return _text("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def _hypervisor() -> str | None:
    """What kind of virtual machine this is, as far as it shows; None: none seen."""
    product = _text("/sys/class/dmi/id/product_name") or ""
    vendor = _text("/sys/class/dmi/id/sys_vendor") or ""
    flagged = re.search(r"^flags\s*:.*\bhypervisor\b", _text("/proc/cpuinfo") or "", re.MULTILINE)
    kinds = r"KVM|QEMU|VMware|VirtualBox|Virtual Machine|Xen|Amazon EC2|Google Compute"
    named = re.search(kinds, f"{vendor} {product}")
    if flagged or (named and "metal" not in product):
        return named[0] if named else _text("/sys/hypervisor/type") or "unnamed hypervisor"
    return None


def _mitigations() -> list[str] | None:
    """The processor's known weaknesses that apply here, and what the kernel does about each."""
    folder = Path(f"{_CPUS}/vulnerabilities")
    if not folder.is_dir():
        return None
    told = [(file.name, _text(file) or "") for file in sorted(folder.iterdir())]
    return [f"{name}: {state}" for name, state in told if not state.startswith("Not affected")]


def _pressures() -> dict[str, float]:
    found = {}
    for kind in ("cpu", "memory", "io"):
        if match := re.match(r"some avg10=([\d.]+)", _text(f"/proc/pressure/{kind}") or ""):
            found[kind] = float(match[1])
    return found
