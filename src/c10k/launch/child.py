"""A child process: what it does before it becomes a server or a worker, and its limits."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from . import confine

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Child(subprocess.Popen[bytes]):
    """A child process that can be asked for its end after an interrupt came in the middle.

    subprocess asks the kernel under a lock. An interrupt that is raised just after the lock was
    taken leaves it taken: from then on poll() says that the child runs, and wait() does not
    return. A lock that the same thread may take again does no harm there.
    """

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        super().__init__(words, **options)
        self._waitpid_lock = threading.RLock()

    def killed(self) -> str:
        """What is said of a child that a signal has ended; "" of any other."""
        code = self.returncode
        return f"was killed by {signal.Signals(-code).name}" if code and code < 0 else ""


class ChildSetup:
    """What a child does between fork and exec, as the preexec_fn of subprocess.

    It is killed when its parent ends, is pinned to cpus, writes no file beyond file_bytes and
    none outside the places that the Landlock rules allow. A thread of the parent may have held
    a lock at the fork, so only system calls are made here, with values prepared beforehand.
    """

    def __init__(
        self,
        cpus: Sequence[int] | None,
        file_bytes: int | None = None,
        rules: int | None = None,
    ) -> None:
        self.cpus = cpus
        self.file_bytes = file_bytes
        self.rules = rules
        self.parent = os.getpid()

    def __call__(self) -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self.parent:
                os._exit(1)
        if self.cpus and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cpus)
        if self.file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))
        if self.rules is not None:
            confine.enter(self.rules)


def raise_descriptor_limit() -> int:
    """Raises the soft limit on descriptors to the hard one; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
