"""What a session's figures depend on, to be published with them."""

import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import msgspec
import psutil

from ..launch import NotServing, inner_loops, watch
from ..launch.interpreter import own_build
from ..model import Environment
from ..text import entries
from .read import (
    MIB,
    clock,
    cores_allowed,
    governors,
    hypervisor,
    mitigations,
    number,
    read_limits,
    smt_active,
    text,
    turbo_on,
)

_VARIES = "moment"  # the group of an environment that is different in every run


def environment(folder: Path | None = None) -> dict[str, Any]:
    """What a result depends on: groups of JSON values; None where the system does not report it.

    folder: the suite's checkout, whose git commit is recorded. Everything but the group
    "moment" is the same from run to run.
    """
    limits = msgspec.json.decode(msgspec.json.encode(read_limits()))
    return {
        "cpu": {
            "model": _cpu_model() or platform.processor() or platform.machine(),
            "architecture": platform.machine(),
            "cores_logical": os.cpu_count(),
            "cores_allowed": cores_allowed(),
            "governors": list(governors()),
            "smt": smt_active(),
            "turbo": turbo_on(),
            "mitigations": mitigations(),
            "virtual_machine": hypervisor(),
        },
        "memory": {"total_mib": psutil.virtual_memory().total // MIB},
        "system": {
            "platform": platform.system(),
            "kernel": platform.release(),
            "libc": " ".join(platform.libc_ver()).strip() or None,
            "clocksource": clock(),
            "address_randomisation": _address_randomisation(),
            # whether the kernel leaves the time of interrupts out of a process's CPU time
            "irq_time_accounting": watch.read_interrupts_apart(),
        },
        "limits": {key: value for key, value in limits.items() if key != "privileged"},
        "python": {
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
            "build": " ".join(platform.python_build()).strip(),
            "compiler": platform.python_compiler(),
            "optimisation": list(own_build()),
            "debug": bool(sysconfig.get_config_var("Py_DEBUG")),
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "gil_enabled": gil_enabled(),
        },
        "client": {"loops": _loops()},
        "suite": _commit(folder) if folder is not None else {"commit": None, "modified": None},
        _VARIES: {
            "load_1min": round(os.getloadavg()[0], 2),
            "memory_available_mib": psutil.virtual_memory().available // MIB,
        },
    }


def differences(a: Environment, b: Environment) -> list[str]:
    """How environment b differs from a, one line each, except in what varies from run to run."""
    old, new = (
        entries({group: values for group, values in each.items() if group != _VARIES})
        for each in (a, b)
    )
    pairs = {key: (old.get(key, "unknown"), new.get(key, "unknown")) for key in {**old, **new}}
    return [f"{key}: {was} → {now}" for key, (was, now) in sorted(pairs.items()) if was != now]


def _loops() -> str:
    """What drives the clients here: C, or asyncio and why."""
    try:
        inner_loops()
    except NotServing as error:
        return f"asyncio: {error}"
    return "C"


def gil_enabled() -> bool:
    """Whether the interpreter's global lock is on now; an imported extension can turn it on."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _cpu_model() -> str | None:
    """The processor's name in /proc/cpuinfo; None where there is none."""
    match = re.search(r"^model name\s*:\s*(.+)$", text("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


def _address_randomisation() -> str | None:
    """How far the kernel randomises addresses, in its manual's words."""
    words = ("No randomization", "Conservative randomization", "Full randomization")
    found = number("/proc/sys/kernel/randomize_va_space")
    return words[found] if found is not None and found < len(words) else None


def _commit(folder: Path) -> dict[str, Any]:
    """The commit of the checkout whose top folder this is, and whether files differ from it.

    Sessions in results/ do not count: no trial runs them, and one of them is being written.
    """

    def git(*words: str) -> str:
        # Without a lock on the index, somebody's own git commands there do not fail.
        command = ["git", "--no-optional-locks", "-C", str(folder), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == folder.resolve():
            changed = git("status", "--porcelain", "--", ".", ":(exclude)results")
            return {"commit": git("rev-parse", "HEAD"), "modified": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        pass
    return {"commit": None, "modified": None}
