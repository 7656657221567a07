"""Waits for a state instead of for a time."""

import contextlib
import time
from pathlib import Path

import psutil


def until(condition, limit_s=20.0):
    """What the condition says, as soon as that is true; fails when it does not come true."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not come true within {limit_s:g} s"
        time.sleep(0.01)
    return found


def echoes(pid):
    """Whether a load worker's clients are connected and their echoes go to and fro just now."""
    with contextlib.suppress(psutil.NoSuchProcess, OSError):
        worker = psutil.Process(pid)
        before = worker.num_ctx_switches().voluntary
        time.sleep(0.05)
        # It has a socket for each client; at the barrier it would wait without waking.
        links = [each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()]
        connected = sum(str(link).startswith("socket:") for link in links) > 2
        return connected and worker.num_ctx_switches().voluntary >= before + 20
    return False


def gone(pid):
    """Whether a process has ended; a zombie has."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
