"""What on this machine would distort or limit a session, and how to fix it."""

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from ..launch import BACKLOG
from ..plan.gates import ALLOWED
from .fit import CLIENT_BYTES, GENEROUS_BYTES, RESERVE, capacity
from .pinning import pinning, real_cores
from .read import CPUS, MIB, Facts, Limits, read_facts

Severity = Literal["ok", "note", "warn"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at; remedy is the command or advice that fixes it."""

    what: str
    severity: Severity
    detail: str
    remedy: str = ""


def doctor(clients: int = 10_000) -> list[Finding]:
    """What would distort or limit a session here; watches the machine for a second."""
    return findings(read_facts(), clients)


def findings(facts: Facts, clients: int = 10_000) -> list[Finding]:
    """Judges the facts. There is no finding about what the machine does not report."""
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
        pinned = pinning(facts.cores_allowed, facts.siblings, count)
        quota = facts.limits.cgroup_cores
        if quota is not None and quota < min(count, 1 + pinned.workers):
            detail = f"the control group may use {quota:g} of {count} cores, then it is paused"
            remedy = "give the container whole cores: --cpuset-cpus instead of --cpus"
            yield Finding("cores", "warn", detail, remedy)
        elif len(real_cores(facts.cores_allowed or range(count), facts.siblings)) == 1:
            yield Finding("cores", "warn", pinned.note, "use a machine with two cores or more")
        else:
            yield Finding("cores", "note" if pinned.server is None else "ok", pinned.note)
    if facts.governors:
        names = ", ".join(facts.governors)
        if facts.governors == ("performance",):
            yield Finding("governor", "ok", names)
        else:
            remedy = "sudo cpupower frequency-set -g performance"
            yield Finding("governor", "warn", f"{names}: the clock speed follows the load", remedy)
    if facts.turbo:
        remedy = (
            f"echo 1 | sudo tee {CPUS}/intel_pstate/no_turbo || "
            f"echo 0 | sudo tee {CPUS}/cpufreq/boost"
        )
        yield Finding("turbo", "note", "on: heat and busy cores change the clock speed", remedy)
    if facts.smt:
        remedy = f"echo off | sudo tee {CPUS}/smt/control"
        yield Finding("hyper-threading", "note", "on: two logical cores are one real one", remedy)


def _about_company(facts: Facts) -> Iterator[Finding]:
    """What else runs on this machine, or on the same hardware."""
    if facts.virtual is not None:
        detail = f"{facts.virtual}: unseen guests share its caches, memory and cores"
        yield Finding("virtual machine", "note", detail, "compare only figures from one session")
    if facts.activity is not None:
        busy, stolen = facts.activity.others_cores, facts.activity.steal_cores
        detail = f"other processes used {busy:.0%} of a core for {facts.activity.seconds:.1f} s"
        remedy = "stop other processes: ps -eo pcpu,comm --sort=-pcpu | head"
        yield _threshold("other load", busy <= ALLOWED.others, detail, remedy)
        if stolen is not None:
            detail = f"the hypervisor took {stolen:.1%} of a core"
            remedy = "use a machine or an instance type with dedicated cores"
            yield _threshold("steal", stolen <= ALLOWED.steal, detail, remedy)
    if facts.pressure_percent:
        waits = ", ".join(f"{kind} {value:g} %" for kind, value in facts.pressure_percent.items())
        detail = f"tasks waited for this share of the last 10 s: {waits}"
        quiet = max(facts.pressure_percent.values()) <= 5
        yield _threshold("pressure", quiet, detail, "wait, or stop other processes: top -o %CPU")


def _about_limits(facts: Facts, clients: int) -> Iterator[Finding]:
    limits = facts.limits
    for what, alone in (
        ("descriptors", msgspec.structs.replace(limits, port_low=None)),
        ("ports", msgspec.structs.replace(limits, descriptors_hard=None)),
    ):
        fits = capacity(clients, alone)
        if not fits.enough:
            yield Finding(what, "warn", fits.shortage, fits.remedy)
        elif fits.most is not None:
            yield Finding(what, "ok", f"enough for {fits.most:,} clients")
    if limits.somaxconn is not None:
        short = limits.somaxconn < BACKLOG
        detail = f"{limits.somaxconn:,}" + short * f", less than the backlog of {BACKLOG:,}"
        remedy = f"sudo sysctl -w net.core.somaxconn={BACKLOG}"
        yield _threshold("somaxconn", not short, detail, remedy)
    yield from _about_threads(limits, clients)
    yield from _about_ceiling(facts)


def _about_ceiling(facts: Facts) -> Iterator[Finding]:
    """How many clients the whole machine holds, with enough processes on both sides."""
    limits, bounds = facts.limits, []
    if limits.files_max is not None:
        bounds.append((limits.files_max // 2, "open files (fs.file-max), two a client"))
    if facts.memory_available_bytes is not None:
        held = facts.memory_available_bytes // CLIENT_BYTES
        bounds.append((held, f"memory, at {CLIENT_BYTES // 1024} KiB a client"))
    if limits.descriptors_hard is not None and bounds:
        most, why = min(bounds)
        processes = math.ceil(most / max(1, limits.descriptors_hard - RESERVE))
        detail = f"{most:,} clients, limited by {why}; they need --processes {processes}"
        yield Finding("ceiling", "ok", detail)


def _about_threads(limits: Limits, clients: int) -> Iterator[Finding]:
    """The first limit that is too low for a thread per client.

    It is only a note: a server that runs out of threads is a result.
    """
    needed = clients + 1000  # the rest of the system has threads as well
    ample = 4 * needed
    bounds = (
        # the limit, its value, how much of it one thread takes, the command that raises it
        ("ulimit -u", limits.user_processes, 1, f"ulimit -u {ample}"),
        ("kernel.threads-max", limits.threads_max, 1, f"sudo sysctl -w kernel.threads-max={ample}"),
        ("kernel.pid_max", limits.pid_max, 1, f"sudo sysctl -w kernel.pid_max={ample}"),
        # A thread's stack and its guard page are a mapping each.
        ("vm.max_map_count", limits.max_map_count, 2, f"sudo sysctl -w vm.max_map_count={ample}"),
        ("pids.max", limits.cgroup_pids, 1, f"sudo systemd-run --scope -p TasksMax={ample} bash"),
    )
    for what, value, each, remedy in bounds:
        if value is not None and value < needed * each:
            detail = f"{what} is {value:,}: a server with a thread per client fails at {clients:,}"
            yield Finding("threads", "note", detail, remedy)
            return
    if any(value is not None for _, value, _, _ in bounds):
        yield Finding("threads", "ok", f"enough for one thread for each of {clients:,} clients")


def _about_memory(facts: Facts, clients: int) -> Iterator[Finding]:
    if facts.memory_available_bytes is not None:
        bound = facts.limits.cgroup_memory_bytes or facts.memory_available_bytes
        available = min(facts.memory_available_bytes, bound)
        needed = clients * GENEROUS_BYTES
        detail = (
            f"{available // MIB:,} MiB available, {clients:,} clients need {needed // MIB:,} MiB"
        )
        remedy = "stop other processes: ps -eo rss,comm --sort=-rss | head"
        yield _threshold("memory", available >= needed, detail, remedy)
    if facts.swap_used_bytes is not None:
        used = facts.swap_used_bytes // MIB
        if used:
            detail = f"{used:,} MiB in use: a process that needs them waits for the disk"
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
            detail = f"{name} instead of tsc, but still read without a system call"
            yield Finding("clocksource", "note", detail, remedy)
        else:
            detail = f"{name}: every reading of the clock is a slow system call"
            yield Finding("clocksource", "warn", detail, remedy)
    if facts.python_debug:
        remedy = "use a release build of Python"
        yield Finding("python", "warn", "a debug build: several times slower", remedy)
    elif facts.python_optimised:
        yield Finding("python", "ok", "built with --enable-optimizations")
    elif facts.python_optimised is False:
        detail = "built without --enable-optimizations: some servers are up to 13 % slower"
        remedy = "PYTHON_CONFIGURE_OPTS='--enable-optimizations --with-lto' pyenv install VERSION"
        if facts.optimised:
            remedy = f"make clean bench PYTHON={facts.optimised}"
        yield Finding("python", "warn", detail, remedy)


def _threshold(what: str, fine: bool, detail: str, remedy: str) -> Finding:
    return Finding(what, "ok", detail) if fine else Finding(what, "warn", detail, remedy)
