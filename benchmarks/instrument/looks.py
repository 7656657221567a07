"""The command c10k, with its readings within a slice changed for some trials.

observer.py lists each server under a name for each arm: `threads_sockets.blind` is
threads_sockets in the arm `blind`. An arm's change lasts for a trial:

  plain    no change: the suite as it is
  blind    nothing is read within a slice, neither the free memory nor the accept queue
  often    16 times a second the server's line in /proc and its CPU clock are read, whose cost
           grows with its threads. The suite did this until its own figures were found to
           show it. This arm proves that the bench would detect such a disturbance
  followed another process follows the session, with `c10k show --watch`
"""

import functools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import through

from c10k import cli, launch
from c10k.model import Measurement, Trial
from c10k.run import drive, local
from c10k.run.executor import Executor

NEVER_S = 100.0  # longer than any trial here, short enough to find one that hangs
LOOKS = ("LOOK_S", "QUEUE_LOOK_S")  # of c10k.drive: how often the engine looks, within a slice
OFTEN_S = 1 / 16
STARTING_S = 2.0  # by then a command has imported all it needs, and waits for the trial's end


@contextmanager
def plain(folder: Path) -> Iterator[None]:
    """The suite as it is."""
    yield


@contextmanager
def blind(folder: Path) -> Iterator[None]:
    """The engine's own readings are so rare that none falls into a slice."""
    kept = {name: getattr(drive, name) for name in LOOKS}
    for name in kept:
        setattr(drive, name, NEVER_S)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(drive, name, value)


def look(pid: int) -> None:
    """Reads a process as the suite once did within its slices."""
    with suppress(OSError):
        Path(f"/proc/{pid}/stat").read_text()
        time.clock_gettime_ns((~pid << 3) | 2)


@contextmanager
def often(folder: Path) -> Iterator[None]:
    """A thread of the engine reads the server from its start to the trial's end."""
    start, over, pids = launch.start, threading.Event(), []

    @functools.wraps(start)
    def noted(*words: Any, **named: Any) -> Any:
        running = start(*words, **named)
        pids.extend(running.pids)
        return running

    def looking() -> None:
        while not over.wait(OFTEN_S):
            for pid in tuple(pids):
                look(pid)

    thread = threading.Thread(target=looking, daemon=True)
    launch.start = noted
    thread.start()
    try:
        yield
    finally:
        launch.start = start
        over.set()
        thread.join()


@contextmanager
def followed(folder: Path) -> Iterator[None]:
    """Another process follows the session in this folder, from before the trial to after it."""
    words = [*through.COMMAND, "show", "--watch", "--json", str(folder)]
    following = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        time.sleep(STARTING_S)
        yield
    finally:
        gone = following.poll()
        following.kill()
        following.wait()
    if gone is not None:
        sys.exit(f"{' '.join(words)}: ended with {gone} before the trial did")


ARMS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "plain": plain,
    "blind": blind,
    "followed": followed,
    "often": often,
}


def arm_of(server: str) -> str:
    """The arm in a server's name."""
    return server.rpartition(".")[2]


def main() -> None:
    """c10k's command line; every trial runs in the arm of its server's name."""
    call = local.LocalExecutor.__call__

    def in_its_arm(executor: Executor[Any], trial: Trial) -> Measurement:
        with ARMS[arm_of(trial.server)](executor.logs.parent):
            return call(executor, trial)

    local.LocalExecutor.__call__ = in_its_arm  # type: ignore[assignment, method-assign]
    cli.main()


if __name__ == "__main__":
    main()
