"""Guards the readings: of a process, and of what else the machine does."""

import mmap
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k import watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
BURN = "import time; end = time.monotonic() + {}\nwhile time.monotonic() < end: pass"


def burner(seconds, **options):
    return subprocess.Popen([sys.executable, "-c", BURN.format(seconds)], **options)


def test_the_cpu_clock_of_another_process_runs_with_its_work():
    """Nanoseconds of CPU time, of any process; None when it is gone."""
    process = burner(0.5)
    process_start = watch.cpu_ns(process.pid)
    process.wait()
    assert process_start is not None
    assert watch.cpu_ns(process.pid) is None
    before = watch.cpu_ns(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.2e9 <= watch.cpu_ns(os.getpid()) - before < 1e9


def test_memory_grows_by_what_is_allocated():
    """The reading follows the heap, to the page."""
    before = watch.memory([os.getpid()])
    size, page = 32 * 1024 * 1024, mmap.PAGESIZE
    kept = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # never reused heap
    for start in range(0, size, page):
        kept[start] = 1
    after = watch.memory([os.getpid()])
    for own in ("pss_bytes", "private_bytes"):
        assert 0.9 * size < getattr(after, own) - getattr(before, own) < 1.2 * size
    assert after.shared_bytes > 0
    assert after.kernel_stacks_bytes > 0
    assert after.sockets_bytes is not None
    assert watch.memory([os.getpid(), 2**22 + 1]) is None


def test_dropped_connections_are_counted():
    """More connections than a listener's queue holds: the kernel's counter goes up."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        before = watch.listen_overflows()
        clients = [socket.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        deadline = time.monotonic() + 5
        while watch.listen_overflows() == before and time.monotonic() < deadline:
            time.sleep(0.05)
        for client in clients:
            client.close()
    assert watch.listen_overflows() > before


def foreign(pid):
    """Whether a process counts as somebody else's."""
    return pid in {seen for seen, _ in watch._ticks_of_others()}


def test_what_we_start_is_not_others():
    """The engine, its children and the sessions they lead do not gate their own trial."""
    family = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN.format(20)!r}])"
    ours = subprocess.Popen([sys.executable, "-c", family], start_new_session=True)
    try:
        deadline = time.monotonic() + 10
        while not (grandchildren := psutil.Process(ours.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not foreign(os.getpid())
        assert not foreign(ours.pid)
        assert not foreign(grandchildren[0].pid)
    finally:
        os.killpg(ours.pid, 9)
        ours.wait()


def test_another_process_that_burns_is_seen():
    """A foreign process's CPU shows, in cores."""
    script = f"{sys.executable} -c '{BURN.format(30)}' >/dev/null & echo $!"
    done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True, text=True)
    try:
        time.sleep(0.2)
        assert foreign(int(done.stdout))
        surroundings = watch.Surroundings()
        time.sleep(1.0)
        noise = surroundings.noise()
        assert noise.others_cores > 0.1
        assert 0 <= noise.steal_share <= 1
    finally:
        os.kill(int(done.stdout), 9)


def test_what_a_process_had_used_before_is_not_used_when_it_is_reaped():
    """Its time passes to who waited for it, over ancestors that are gone as well."""
    init, shell, child, new = (1, 0), (50, 7), (60, 8), (70, 9)
    before = {
        init: watch.Used(10, 0),
        shell: watch.Used(1000, 1),
        child: watch.Used(360_000, 50),
    }
    assert watch.spent_ticks(before, before) == 0
    reaped = {init: watch.Used(10 + 1000 + 360_000 + 3, 0)}
    assert watch.spent_ticks(before, reaped) == 3
    assert watch.spent_ticks(before, reaped | {new: watch.Used(20, 1)}) == 23
    # a pid that came again is another process, and an unfair end takes nothing from others
    assert watch.spent_ticks(before, {init: before[init], (60, 99): watch.Used(5, 1)}) == 5


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5))
def test_ticks_spent_are_those_that_came_to_be(growth):
    """While nobody ends, what was spent is what was added."""
    before = {(pid, 0): watch.Used(7 * pid, 1) for pid in range(2, 2 + len(growth))}
    after = {
        process: watch.Used(used.ticks + more, 1)
        for (process, used), more in zip(before.items(), growth, strict=True)
    }
    assert watch.spent_ticks(before, after) == sum(growth)
