"""A session over several machines, of which all are this one."""

import json
import os
import subprocess
import sys

import psutil
from command import c10k
from waiting import until

from c10k import paths

SHORT = """
title = "short"
servers = ["{servers}"]
blocks = 1
reference = "{servers}"
control = false
repeats = {repeats}
connect_timeout_s = 60

[[load]]
kind = "{kind}"
clients = {clients}
warmup_s = 0.2
duration_s = {duration_s}
{more}
"""


def workload(folder, **options):
    """A workload file with one load; its path."""
    given = {"servers": "asyncio_streams", "repeats": 0, "kind": "closed", "clients": 20}
    path = folder / "short.toml"
    path.write_text(SHORT.format(**{**given, "duration_s": 1.0, "more": "", **options}))
    return path


class Loopback:
    """A scheduler and labelled workers on this machine's loopback."""

    def __init__(self, folder, scheme="tcp", options=()):
        self.folder, self.options = folder, list(options)
        self.scheme = scheme
        self.processes = {}
        file = folder / "scheduler.json"
        self.start("sched", "scheduler", "--port", "0", "--scheduler-file", str(file))
        until(lambda: file.exists() and file.read_text().strip(), 30)
        self.address = json.loads(file.read_text())["address"]

    def start(self, name, *words, path=""):
        common = ["--host", f"{self.scheme}://127.0.0.1", "--no-dashboard", *self.options]
        found = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH", "")]))
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *words, *common],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": found},
            )

    def worker(self, name, label, **options):
        more = ["--name", name, "--no-nanny", "--nthreads", "1", "--resources", label]
        self.start(name, "worker", self.address, *more, **options)

    def await_hosts(self, count, **options):
        """Until so many are there and the command knows them; what it says of them."""

        def there():
            done = c10k("cluster", self.address, "--json", code=None, **options)
            found = json.loads(done.stdout)["hosts"] if not done.returncode else []
            return found if len(found) == count else None

        return until(there, 30)

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def close(self):
        for name in list(self.processes):
            self.kill(name)


def children(process):
    """The servers and load workers below a Dask worker (which also asks git what it is)."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [each for each in running(below) if ours(each)]
    except psutil.NoSuchProcess:
        return []


def ours(process):
    """Whether it is a contender or the client."""
    line = " ".join(process.cmdline())
    return str(paths.SERVERS) in line or str(paths.CLIENT) in line


def running(processes):
    """Those that are not gone."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
