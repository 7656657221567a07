"""The command c10k, with the looks that are taken within a slice changed for some trials.

observer.py enters each server under a name for each arm: `threads_sockets.blind` is
threads_sockets in the arm `blind`. What an arm changes, it changes around a trial:

  plain    nothing: the suite as it is
  blind    within a slice nobody looks at anything, neither at the free memory nor at the
           accept queue
  often    what the suite did until it was found to be in its own figures: 16 times a second
           the server's line in /proc and its CPU clock, whose cost grows with its threads.
           It shows that the bench would see such a disturbance
  followed somebody follows the session from another terminal, with `c10k show --watch`
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
STARTING_S = 2.0  # a command has imported all it needs, and waits for the trial's end


@contextmanager
def plain(folder: Path) -> Iterator[None]:
    """The suite as it is."""
    yield


@contextmanager
def blind(folder: Path) -> Iterator[None]:
    """The engine's own looks come so rarely that none falls into a slice."""
    kept = {name: getattr(drive, name) for name in LOOKS}
    for name in kept:
        setattr(drive, name, NEVER_S)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(drive, name, value)


def look(pid: int) -> None:
    """One reading of a process as the suite once took it within its slices."""
    with suppress(OSError):
        Path(f"/proc/{pid}/stat").read_text()
        time.clock_gettime_ns((~pid << 3) | 2)


@contextmanager
def often(folder: Path) -> Iterator[None]:
    """A thread of the engine looks at the server from its start to the trial's end."""
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
    """The arm that a server's name says."""
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
