"""Guards what is promised when something runs out: disk, descriptors, memory, ports."""

import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from command import c10k
from disturbed import child, resume_whole, started_by, until_nothing_is_left
from waiting import until

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit and /proc"),
    pytest.mark.once,
]
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system")


def test_the_disk_is_full(begin, kept, tmp_path, held):
    """A limit on a file's size stands for the disk: what is on it is kept, and can go on."""

    def little():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    # else Python itself may cut the compiled modules short, and every later run breaks on them
    own = {"preexec_fn": little, "env": {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}}
    run = begin(blocks=12, duration=0.2, options=own)
    code = run.end()
    before = len(kept())
    assert code == 3, run.said
    assert "trials.jsonl: cannot be written: file too large" in run.said
    assert 1 <= before < 12
    assert not started_by(run.process.pid)
    whole = resume_whole(begin, kept, tmp_path)
    held(
        "no room for a trial's line (a limit on the file's size)",
        "one line, exit 3, the trials before it are kept, --resume goes on",
        f"exit {code}, {before} of {whole} kept, {whole} after --resume",
    )


@root
def test_the_file_system_is_full(begin, kept, tmp_path, held):
    """A file system of 64 KiB in memory: the same, with a torn line to be put aside."""
    folder = tmp_path / "s"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "c10k", folder], check=True)
    try:
        run = begin(blocks=40, duration=0.1)
        code = run.end(120)
        before = len(kept())
        assert (code, 1 <= before < 40) == (3, True), run.said
        assert "no space left on device" in run.said
        subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)
        whole = resume_whole(begin, kept, tmp_path)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    held(
        "a full file system (tmpfs of 64 KiB)",
        "one line, exit 3, the trials before it are kept, --resume goes on",
        f"exit {code}, {before} of {whole} kept, {whole} after --resume",
    )


@pytest.mark.parametrize("place", ["/proc/c10k", "/dev/null/c10k"])
def test_the_folder_cannot_be_written(begin, held, place):
    """It is said before anything runs."""
    run = begin(out=place)
    assert run.end() == 2
    assert f"{place}: cannot be written" in run.said.splitlines()[-1]
    held(
        f"a results folder that cannot be written ({place.rpartition('/')[0]})",
        "one line, exit 2, nothing is run",
        "exit 2: " + run.said.splitlines()[-1].replace("c10k: ", "", 1),
    )


def test_too_few_descriptors_for_the_clients(begin, kept, held):
    """Known before: the row is not run, with the arithmetic; smaller counts are."""

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    run = begin(blocks=1, clients="5, 1000", options={"preexec_fn": few})
    assert run.end() == 0
    found = {m.trial.load.clients: (m.status, m.reason) for m in kept()}
    assert found[5][0] == "ok"
    status, reason = found[1000]
    assert status == "not run"
    assert "descriptors" in reason
    held(
        "fewer descriptors than clients",
        "that count is not run, with the arithmetic; smaller ones are",
        f"exit 0, 2 of 2 rows: {reason}",
    )


@pytest.mark.parametrize("spare", [1, 4, 7])
def test_the_engine_runs_out_of_descriptors(begin, kept, tmp_path, held, spare):
    """In the middle of a session: the trial fails with the reason, or the session ends early."""
    run = begin(blocks=4)
    run.until("1/")
    used = psutil.Process(run.process.pid).num_fds()
    _, hard = resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(run.process.pid, resource.RLIMIT_NOFILE, (used + spare - 4, hard))
    code = run.end()
    assert code in (0, 3), run.said
    before = kept()
    failed = [m.reason for m in before if m.status == "failed"]
    assert code == 3 or failed
    until_nothing_is_left(run)
    seen = f"exit {code}, {len(before)} of 4 trials kept"
    if code == 3:
        resume_whole(begin, kept, tmp_path)
    else:
        assert all("oo many open files" in reason for reason in failed), failed
        seen += f", {len(failed)} failed: too many open files"
    if spare == 4:
        held(
            "the engine runs out of descriptors",
            "its trials fail with the reason, or it ends with exit 3; what was measured is kept",
            seen,
        )


def test_every_place_of_a_trial_may_find_no_descriptor(begin, kept, tmp_path, held):
    """One place a trial, each in its turn: the trial has its row, and the next is measured."""
    seen = tmp_path / "seen"
    program = (Path(__file__).parent / "no_more_files.py", seen)
    run = begin(blocks=60, duration=0.1, options={"program": program})
    assert run.end(240) == 0, run.said
    places = len(seen.read_text().splitlines())
    failed = [m for m in kept() if m.status != "ok"]
    assert len(kept()) == 60
    assert places > 30
    assert failed
    assert all("oo many open files" in m.reason for m in failed), {m.reason for m in failed}
    assert kept()[-1].status == "ok"  # more trials than places: nothing failed there
    until_nothing_is_left(run)
    held(
        "the engine finds no descriptor at one of the places that open something, each in its turn",
        "that trial has its row, with the reason where it fails; the next is measured",
        f"exit 0, 60 of 60 trials kept, {places} places, {len(failed)} failed: too many open files",
    )


def test_a_client_worker_runs_out_of_descriptors(begin, kept, held):
    """While clients come and go: those who cannot connect are counted, by their error."""
    run = begin(blocks=2, kind="churn", clients=20, duration=2.0)
    worker = child(run.process.pid, "echo_client.py")
    until(lambda: psutil.Process(worker).num_fds() > 20)
    _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (8, hard))
    code = run.end()
    first, second = kept()
    assert (code, first.status, second.status) == (0, "failed", "ok"), run.said
    assert "oo many open files" in first.reason
    held(
        "a client worker runs out of descriptors",
        "its trial fails with the error and how often it came; the next is measured",
        f"exit {code}, 2 of 2 trials kept, 1 failed: {first.reason[:150]}",
    )


def test_a_trial_takes_too_much_memory(begin, kept, held):
    """It is stopped before the machine suffers; the others are measured."""
    run = begin("--memory", "0.01%", blocks=2, clients="5, 400")
    assert run.end() == 0
    reasons = {m.reason for m in kept() if m.status != "ok"}
    assert any("memory" in reason for reason in reasons), reasons
    held(
        "a budget for memory that a trial would exceed",
        "that trial is not run, or stopped, with the arithmetic",
        f"exit 0, {len(kept())} of 4 rows: {sorted(reasons)[0]}",
    )


def test_the_memory_of_a_server_is_limited(begin, kept, tmp_path, held):
    """A server that cannot be given more memory fails its own trial."""
    greedy = tmp_path / "greedy_sockets.py"
    greedy.write_text(
        '# /// script\n# [tool.c10k]\n# title = "t"\n# model = "m"\n# unit = "u"\n'
        '# tier = "variant"\n# ///\nimport resource, socket\nhoard = []\n'
        "resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))\n"
        "listener = socket.socket(fileno=0)\nwhile True:\n    client, _ = listener.accept()\n"
        "    hoard.append(b'x' * (60 << 20))\n    client.sendall(client.recv(65536))\n"
    )
    run = begin(servers=(str(greedy), "asyncio_streams"), blocks=1)
    assert run.end() == 0
    found = {m.trial.server: (m.status, m.reason) for m in kept()}
    assert found["asyncio_streams"][0] == "ok"
    status, reason = found["greedy_sockets"]
    assert (status, "MemoryError" in reason) == ("failed", True), reason
    held(
        "a server that is given no more memory",
        "its own trial fails with its last words; the others are measured",
        f"exit 0, 2 of 2 trials kept, 1 failed: {reason}",
    )


def test_the_port_is_taken(held):
    """Said in one line, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = c10k("serve", "threads_sockets", "--bind", address, code=2)
    (line,) = done.stderr.splitlines()
    assert address in line
    held(
        "a port that is taken",
        "one line with the address, exit 2",
        f"exit 2: {line.replace(address, 'HOST:PORT').removeprefix('c10k: ')}",
    )
