"""Guards c10k explain: exact counts, what is missing, servers that end, no process left."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from command import c10k
from waiting import gone, until

from c10k.declare import catalog
from c10k.model import Runtime
from c10k.run import explain
from c10k.run.explain import parsing

HERE = Path(__file__).parent
PLANTED = HERE / "three_getpids.py"
DIES = HERE.parents[1] / "bad_servers" / "dies_in_service.py"
SHORT = ("--clients", 5, "--seconds", 0.3)

pytestmark = [pytest.mark.once, pytest.mark.unmeasured]


def can_trace():
    """Whether strace is here and may attach; where it may not, c10k explain says so."""
    if shutil.which("strace") is None:
        return False
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


traced = pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not attach")


def explained(tmp_path, *words, **options):
    """(counts by name, all of the JSON)."""
    out = tmp_path / "out"
    said = json.loads(c10k("explain", *words, "--json", "--out", out, **options).stdout)
    return {each["name"]: each for each in said["counts"]}, said


@pytest.fixture
def programs(tmp_path):
    """programs(NAME=text or path, …) → an environment in which only these are on PATH."""

    def make(**named):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, text in named.items():
            if text.startswith("/"):
                (folder / name).symlink_to(text)
            else:
                (folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (folder / name).chmod(0o755)
        return {"PATH": str(folder)}

    return make


@traced
def test_a_known_number_of_calls_is_counted(tmp_path):
    """Three getpid for each message, and the C floor's one recv and one send."""
    counts, said = explained(tmp_path, PLANTED, "epoll_c", *SHORT)
    three, none = counts["getpid"]["per_message"]
    assert three == pytest.approx(3, abs=0.01)
    assert none == 0
    for name in ("recvfrom", "sendto"):
        assert counts[name]["per_message"][1] == pytest.approx(1, abs=0.01)
    assert 0 < counts["epoll_wait"]["per_message"][1] <= 1.01
    assert counts["voluntary switches"]["by"] == "kernel"
    (first, *_) = said["sentences"]
    assert first == "three_getpids makes 300 getpid calls for 100 messages, epoll_c none."
    assert all(count > 0 for each in said["messages"].values() for count in each.values())


@traced
def test_strace_alone_counts_as_exactly(tmp_path, programs):
    """Without perf the system calls are those of strace, and a line says what is left out."""
    only = programs(strace=shutil.which("strace"))
    counts, said = explained(tmp_path, PLANTED, *SHORT, environment=only)
    assert counts["getpid"]["per_message"][0] == pytest.approx(3, abs=0.01)
    assert counts["getpid"]["by"] == "strace"
    assert any("perf is not installed: apt install" in line for line in said["left_out"])


def test_without_any_program_the_rest_is_printed(tmp_path, programs):
    """A table with the switches, a line for each program that is missing, and the page."""
    done = c10k("explain", PLANTED, *SHORT, "--out", tmp_path / "o", environment=programs())
    assert "voluntary switches" in done.stdout
    for name in ("strace", "perf"):
        assert done.stdout.count(f"{name} is not installed: apt install") == 1
    page = (tmp_path / "o" / "explain.html").read_text()
    assert "strace is not installed" in page
    assert not (tmp_path / "o" / "session.json").exists()


def test_without_the_right_to_attach_it_says_what_gives_it(tmp_path, programs):
    """The reason is strace's own; perf refuses everything."""
    refusing = programs(
        strace="echo 'strace: attach: ptrace(…): Operation not permitted' >&2; exit 1",
        perf="exit 255",
    )
    counts, said = explained(tmp_path, PLANTED, *SHORT, environment=refusing)
    assert "voluntary switches" in counts
    left_out = "\n".join(said["left_out"])
    assert "Operation not permitted; run as root, or: sudo sysctl -w kernel.yama" in left_out
    assert "sudo sysctl -w kernel.perf_event_paranoid=1" in left_out


def test_a_server_that_ends_is_one_line(tmp_path):
    """Exit code 2, its last word, and no folder that holds nothing."""
    words = (DIES, "--clients", 1, "--seconds", 20, "--out", tmp_path / "o")
    done = c10k("explain", *words, code=2)
    assert done.stderr == ("c10k: dies_in_service: the server exited with code 3: the last word\n")
    assert not (tmp_path / "o").exists()


def test_what_cannot_be_explained_is_one_line(tmp_path):
    """The same server twice, no server, no client, more clients than fit, a wrong folder."""
    (tmp_path / "file").write_text("")
    for words, reason in (
        (("epoll_c", "epoll_c"), "two with different names"),
        (("nobody",), "there is no server 'nobody'"),
        (("asyncio_streams@3.1",), "no interpreter 3.1 on this machine"),
        (("epoll_c", "--clients", "1,2"), "--clients: give one number"),
        (("epoll_c", "--clients", "9000k"), "clients fit"),
        (("epoll_c", "--seconds", "0"), "--seconds"),
        (("epoll_c", "--out", tmp_path / "file"), "--out"),
    ):
        done = c10k("explain", *words, code=2, cwd=tmp_path)
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


@traced
def test_a_server_that_an_instrument_stops_is_shown_without_it(tmp_path, monkeypatch):
    """strace may slow a server so far that its echoes do not come in time."""
    monkeypatch.setattr("c10k.run.explain.counting.DRAIN_S", 0.5)
    monkeypatch.setattr("c10k.run.explain.counting.CEILING_S", 1.0)
    server = catalog.read(HERE / "mute_when_traced.py")
    setting = explain.Setting(2, 0.3, tmp_path)
    on = {server.name: Runtime(sys.executable)}
    (found,) = explain.explain([server], on, setting, lambda line: None)
    (told,) = [line for line in found.left_out if "strace" in line]
    assert "with strace the server does not keep up: 2 echoes lost" in told
    assert {each.by for each in found.counts} >= {"kernel"}
    assert not any(each.kind == "call" for each in found.counts)


def traced_by_strace(process):
    """The processes of a run, once strace is attached to its server; else None."""
    everyone = psutil.Process(process.pid).children(recursive=True)
    tracers = {each.pid for each in everyone if "strace" in each.name()}
    status = [Path(f"/proc/{each.pid}/status").read_text() for each in everyone]
    return everyone if tracers & set(map(parsing.tracer, status)) else None


def attached(process):
    """As traced_by_strace; a process may end while it is looked at."""
    try:
        return traced_by_strace(process)
    except (psutil.NoSuchProcess, OSError):
        return None


@traced
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupt_leaves_no_process(tmp_path, number):
    """Neither server nor client nor strace, also when the command cannot clean up itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "c10k", "explain", "asyncio_streams", "--seconds", "3"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        started = until(lambda: attached(process), 60)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert errors == ""
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    until(lambda: all(gone(each.pid) for each in started))
    if number != signal.SIGKILL:
        assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.skipif(
    shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") is None,
    reason="py-spy is not here",
)
def test_the_page_shows_the_flame_graphs(tmp_path):
    """Each is a file of its own, too; the page names no other address."""
    c10k("explain", PLANTED, "asyncio_streams", *SHORT, "--out", tmp_path / "o")
    drawn = (tmp_path / "o" / "three_getpids.svg").read_text()
    assert "<svg" in drawn
    assert ">three_getpids</text>" in drawn
    page = (tmp_path / "o" / "explain.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")
