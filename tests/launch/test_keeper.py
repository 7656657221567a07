"""Guards that nothing stays: of a hostile server, and of a suite that was killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import made
import psutil
import pytest
from msgspec.structs import replace
from waiting import until

from c10k import launch, machine, paths, plan
from c10k.declare import catalog
from c10k.launch import confine, keeper, runtime
from c10k.run import drive, session, store, worker_plans, workers
from c10k.run.executor import Rules
from c10k.run.local import LocalExecutor

KNOWN = paths.SUITE / "benchmarks" / "instrument" / "known_servers"
HOSTILE = KNOWN / "hostile.py"
WRITTEN = "written-by-the-hostile-server"
confined = pytest.mark.skipif(
    confine.ruleset(Path("/tmp")) is None, reason="this kernel has no Landlock"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@confined
def test_a_hostile_contender_ends_with_its_trial(tmp_path):
    """It forks, stays, prints, opens and writes: the trial is measured, and nothing is left."""
    server = catalog.read(HOSTILE)
    short = made.load(10, warmup_s=0.1, duration_s=0.3)
    planned = plan.make(made.workload([server.name], [short], 2), [server], 1)
    writer = store.create(tmp_path / "s", replace(made.session(), plan=planned, measurements=()))

    def execute(trial):
        measured = local(trial)
        assert keeper.carrying(keeper.keeper().mark) == []
        return measured

    local = LocalExecutor(
        planned,
        writer.logs,
        Rules({server.name: runtime.prepare(server)}),
        machine.Pinning(None, None, 1, "not pinned"),
    )
    session.run(planned, execute, writer)
    writer.close()
    kept = store.load(tmp_path / "s").measurements
    assert [m.status for m in kept] == ["ok", "ok"], [m.reason for m in kept]
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files <= {"session.json", "trials.jsonl", *(f"{m.trial.key}.log" for m in kept)}
    assert all(log.stat().st_size < launch.LOG_BYTES + 100 for log in tmp_path.rglob("*.log"))
    for place in (Path.home(), Path("/tmp"), Path.cwd()):
        assert not (place / WRITTEN).exists()


@confined
def test_a_server_writes_in_its_own_folder_alone(tmp_path):
    """Its working folder is its temporary folder, too, and is gone with it."""
    path = tmp_path / "writes.py"
    head, _, body = (paths.SERVERS / "threads_sockets.py").read_text().partition("import socket\n")
    path.write_text(
        head + "import os, socket, sys, tempfile\n"
        "for place in (os.getcwd(), tempfile.gettempdir(), os.path.dirname(__file__)):\n"
        "    try:\n        open(place + '/mine', 'w').close()\n        said = 'wrote'\n"
        "    except OSError as error:\n        said = type(error).__name__\n"
        "    print(said, place, file=sys.stderr)\n" + body
    )
    with launch.serving(catalog.read(path), tmp_path / "log") as running:
        said = (tmp_path / "log").read_text().splitlines()
        folder = running.folder
        assert said == [f"wrote {folder}", f"wrote {folder}", f"PermissionError {tmp_path}"]
    assert not folder.exists()


OWNER = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
from c10k import launch; from c10k.declare import catalog; from c10k.launch import keeper
running = launch.start(catalog.read(Path(sys.argv[1])), Path(sys.argv[2]), bind=sys.argv[3])
print(keeper.keeper().mark, keeper.keeper().folder, flush=True)
{then}
"""


@linux
@pytest.mark.parametrize(
    ("then", "how"),
    [
        ("time.sleep(60)", signal.SIGKILL),
        ("time.sleep(60)", signal.SIGTERM),
        ("time.sleep(60)", signal.SIGHUP),
        ("raise SystemExit(3)", None),
        ("1 / 0", None),
        ("keeper.keeper().process.kill(); time.sleep(0.1)", None),
    ],
)
def test_nothing_outlives_its_owner(tmp_path, then, how):
    """However the owner ends: no server, nothing that had left its session, no file of theirs."""
    sources = KNOWN / "forks_away.py"
    owner = subprocess.Popen(
        [
            sys.executable, "-c", OWNER.format(then=then),
            str(sources), str(tmp_path / "log"), f"unix:{tmp_path}/socket",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    mark, folder = owner.stdout.readline().split()
    if how:
        assert len(keeper.carrying(mark)) >= 3  # itself, a child, and one in a session of its own
        owner.send_signal(how)
    owner.wait(10)
    owner.stdout.close()
    left = [Path(folder), tmp_path / "socket"]
    until(lambda: not keeper.carrying(mark) and not any(map(Path.exists, left)), 2.0)


def test_a_forked_copy_does_not_clean_up_for_its_parent(tmp_path):
    """Only the owner's end is the end."""
    server = catalog.read(paths.SERVERS / "threads_sockets.py")
    with launch.serving(server, tmp_path / "log") as running:
        pid = os.fork()
        if pid == 0:
            keeper.keeper.__globals__["_keeper"].end()
            os._exit(0)
        os.waitpid(pid, 0)
        assert not running.why_gone()
        assert keeper.keeper().folder.exists()


@linux
def test_workers_leave_no_folder(tmp_path):
    """What a client worker says goes to the keeper's folder and is removed with the worker."""
    server = catalog.read(paths.SERVERS / "threads_sockets.py")
    short = made.load(2, warmup_s=0.0, duration_s=0.1)
    chosen = made.workload([server.name], [short], 1)
    folder = keeper.keeper().folder
    with launch.serving(server, tmp_path / "log") as running:
        before = set(folder.iterdir())  # the server's among them
        plans = worker_plans.plans(running.address, chosen, short, [2], 1)
        with workers.LocalCrew(plans, ()) as crew:
            assert len(set(folder.iterdir()) - before) == 1
            drive.drive(crew, short, Mock())
        assert set(folder.iterdir()) == before
    assert psutil.pid_exists(keeper.keeper().process.pid)


def test_a_keeper_that_cannot_be_started_leaves_no_folder(tmp_path, monkeypatch):
    """It is tried again for the next trial; the folder of this one is gone."""

    def none_left(*words, **options):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        keeper.Keeper()
    assert list(tmp_path.iterdir()) == []
