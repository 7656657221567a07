"""Waits for a state instead of for a time."""

import time

import psutil


def until(condition, limit_s=20.0):
    """What the condition says, as soon as that is true; fails when it does not come true."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not come true within {limit_s:g} s"
        time.sleep(0.01)
    return found


def gone(pid):
    """Whether a process has ended; a zombie has."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
