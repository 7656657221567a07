"""Guards what is promised when a process is killed or stopped: nothing lost, nothing left."""

import random
import signal
import sys
import time

import pytest
from disturbed import Run, child, kill, resume_whole, until_it_echoes, until_nothing_is_left

from c10k.run import store

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
pytestmark = [linux, pytest.mark.once, pytest.mark.timeout(600)]


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL", "SIGINT twice"])
def test_the_command_is_ended(begin, kept, tmp_path, held, how):
    """Whatever ends a run: what was measured is there, nobody lives on, and it can go on."""
    run = begin(blocks=4)
    run.until("2/")
    until_it_echoes(run)
    number = getattr(signal, how.split()[0])
    run.process.send_signal(number)
    if "twice" in how:
        time.sleep(0.05)
        run.process.send_signal(number)
    code = run.end()
    until_nothing_is_left(run)
    assert code == (-9 if how == "SIGKILL" else 3), run.said
    before = len(kept())
    assert before >= 2
    if how != "SIGKILL":
        assert f"Continue: c10k run --resume {tmp_path}/s" in run.said
    whole = resume_whole(begin, kept, tmp_path)
    held(
        f"{how} of the command",
        "every finished trial is kept, no process lives 2 s later, --resume ends the plan",
        f"exit {code}, {before} of {whole} trials kept, {whole} after --resume",
    )


@pytest.mark.timeout(7200)  # with --kills 200
def test_the_command_is_killed_again_and_again(begin, kept, tmp_path, held, request):
    """At random moments: each time at most the running trial is lost, and nobody lives on."""
    kills = request.config.getoption("--kills")
    moments = random.Random(kills)
    both = ("asyncio_streams", "threads_sockets")
    run = begin(blocks=4 + kills * 2 // 3, servers=both, duration=0.2)
    run.until("1/")  # from here on there is a session to resume
    for count in range(kills):
        time.sleep(moments.uniform(0.0, 2.0))
        kill(run.process.pid)
        run.process.wait()
        run.said += run.process.stdout.read()
        done = sum(line.split("/")[0].isdecimal() for line in run.said.splitlines())
        known = len(kept())
        until_nothing_is_left(run)
        trials = store.load(tmp_path / "s").plan.trials
        assert [m.trial for m in kept()] == list(trials[:known])
        if count == 0:
            said_before = 0
        assert known >= said_before + done, "a trial that was told as measured is gone"
        if len(trials) == known:
            break
        said_before = known
        run = begin(resume=True)
    run.process.kill()
    run.process.communicate()
    whole = resume_whole(begin, kept, tmp_path) if len(trials) > len(kept()) else len(trials)
    print(f"{count + 1} kills, 0 orphans, {whole} trials in the planned order")
    held(
        f"SIGKILL of the command at {count + 1} random moments, resumed after each",
        "the session equals an uninterrupted one in plan, order and count; zero orphans",
        f"{whole} of {whole} trials in the planned order, each once; 0 orphans",
    )


@pytest.mark.parametrize(
    ("word", "number", "says"),
    [
        ("asyncio_streams.py", signal.SIGKILL, "the server was killed by SIGKILL"),
        ("asyncio_streams.py", signal.SIGSTOP, "echoes lost"),
        ("echo_client.py", signal.SIGKILL, "the client was killed by SIGKILL"),
        ("echo_client.py", signal.SIGSTOP, "the client did not report"),
    ],
)
def test_a_server_or_a_worker_is_killed_or_stopped(begin, kept, held, word, number, says):
    """It costs its own trial, whose row says why; the others are measured."""
    run = begin(blocks=3, duration=1.0)
    run.until("1/")
    until_it_echoes(run)
    victim = child(run.process.pid, word)
    kill(victim, number)
    code = run.end()
    assert code == 0, run.said
    found = [(m.status, m.reason) for m in kept()]
    assert sorted(status for status, _ in found) == ["failed", "ok", "ok"], found
    (reason,) = [reason for status, reason in found if status == "failed"]
    assert says in reason
    until_nothing_is_left(run)
    who = "the server" if "streams" in word else "a client worker"
    held(
        f"{number.name} of {who}",
        "its own trial fails with the reason; the next ones are measured",
        f"exit {code}, 3 of 3 trials kept, 1 failed: {reason}",
    )


def test_the_command_is_stopped_for_a_while(begin, kept, held):
    """As when a laptop sleeps: it goes on where it was, and every trial is there."""
    run = begin(blocks=3)
    run.until("1/")
    kill(run.process.pid, signal.SIGSTOP)
    time.sleep(2)
    kill(run.process.pid, signal.SIGCONT)
    code = run.end()
    assert (code, len(kept())) == (0, 3)
    held(
        "SIGSTOP of the command for two seconds",
        "it goes on where it was",
        f"exit {code}, 3 of 3 trials kept",
    )


def test_a_second_run_in_the_same_folder(begin, kept, tmp_path, held):
    """Refused while the first lives; the first is not disturbed."""
    run = begin(blocks=6)
    run.until("1/")
    second = Run("--resume", tmp_path / "s")
    assert second.end() == 2
    assert "another run is writing it" in second.said
    assert (run.end(), len(kept())) == (0, 6)
    held(
        "a second run in the same folder",
        "it is refused in one line, the first goes on",
        "exit 2 and exit 0, 6 of 6 trials kept",
    )
