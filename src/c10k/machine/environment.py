"""What a session's figures depend on, published with them."""

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

from ..launch import watch
from .read import (
    MIB,
    clock,
    cores_allowed,
    governors,
    hypervisor,
    mitigations,
    number,
    python_flags,
    read_limits,
    smt_active,
    text,
    turbo_on,
)

_VARIES = "moment"  # the group of an environment that two runs never share


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
            # whether a process's CPU time leaves out the interrupts in it
            "irq_time_accounting": watch.read_interrupts_apart(),
        },
        "limits": {key: value for key, value in limits.items() if key != "privileged"},
        "python": {
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
            "build": " ".join(platform.python_build()).strip(),
            "compiler": platform.python_compiler(),
            "optimisation": python_flags(),
            "debug": bool(sysconfig.get_config_var("Py_DEBUG")),
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "gil_enabled": gil_enabled(),
        },
        "suite": _commit(folder) if folder is not None else {"commit": None, "modified": None},
        _VARIES: {
            "load_1min": round(os.getloadavg()[0], 2),
            "memory_available_mib": psutil.virtual_memory().available // MIB,
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
    match = re.search(r"^model name\s*:\s*(.+)$", text("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else None


def _address_randomisation() -> str | None:
    """How far the kernel randomises addresses, by the words of its manual."""
    words = ("No randomization", "Conservative randomization", "Full randomization")
    found = number("/proc/sys/kernel/randomize_va_space")
    return words[found] if found is not None and found < len(words) else None


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
