"""A session as a process that faults are put to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from waiting import echoes, until

from c10k.launch import keeper
from c10k.run import store

WORKLOAD = """
title = "A session to be disturbed"
servers = {servers}
blocks = {blocks}
control = false
repeats = 0
connect_timeout_s = 3
drain_s = {drain}
[[load]]
kind = "{kind}"
clients = [{clients}]
warmup_s = 0.1
duration_s = {duration}
ceiling_s = 4
{more}
"""


class Run:
    """`c10k run` as a process, with what it said so far."""

    def __init__(self, *words, program=("-m", "c10k"), **options):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, [*program, "run", *words])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        self.said = ""

    def until(self, beginning):
        """Reads until a line begins so."""
        for line in self.process.stdout:
            self.said += line
            if line.startswith(beginning):
                return
        raise AssertionError(self.said)

    def end(self, timeout_s=60):
        """Its exit code, once it has said all."""
        rest, _ = self.process.communicate(timeout=timeout_s)
        self.said += rest
        assert "Traceback" not in self.said, self.said
        return self.process.returncode


def started_by(pid):
    """Processes of a run that are no zombies, by the mark that it gave them."""
    return keeper.carrying(f"{pid}-")


def until_nothing_is_left(run, limit_s=2.0):
    """What a run started is gone in this time."""
    until(lambda: not started_by(run.process.pid), limit_s)


def child(pid, word):
    """The process of a run whose command line holds this word, once it is there."""
    found = []

    def look():
        for each in keeper._pids():
            try:
                parent = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1]
                words = Path(f"/proc/{each}/cmdline").read_bytes().decode()
            except OSError:
                continue
            if int(parent) == pid and word in words:
                found.append(each)
        return found

    return until(look, 10)[0]


def until_it_echoes(run):
    """Waits until a trial of a run is under way: after one trial, its successor."""
    until(lambda: echoes(child(run.process.pid, "echo_client.py")))


def resume_whole(begin, kept, tmp_path):
    """Goes on to the end, and asserts that the session is the one that was planned."""
    assert begin(resume=True).end(600) == 0
    whole = store.load(tmp_path / "s")
    assert [m.trial for m in kept()] == list(whole.plan.trials)
    return len(whole.plan.trials)


def kill(pid, number=signal.SIGKILL):
    os.kill(pid, number)
