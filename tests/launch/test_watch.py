"""Guards the readings: of a process, and of what else the machine does."""

import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from c10k.launch import keeper, processes, watch
from c10k.launch.processes import Entry, Used, spent_ns

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
BURN = "import time; end = time.monotonic() + {}\nwhile time.monotonic() < end: pass"


def burner(seconds, **options):
    return subprocess.Popen([sys.executable, "-c", BURN.format(seconds)], **options)


def test_the_cpu_clock_of_another_process_runs_with_its_work():
    """Nanoseconds of CPU time, of any process; None when it is gone."""
    process = burner(0.5)
    process_start = processes.cpu_ns(process.pid)
    process.wait()
    assert process_start is not None
    assert processes.cpu_ns(process.pid) is None
    before = processes.cpu_ns(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.2e9 <= processes.cpu_ns(os.getpid()) - before < 1e9


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
    assert after.page_tables_bytes - before.page_tables_bytes >= size // 512  # 8 bytes a page
    assert after.slab_bytes > 0
    assert watch.memory([os.getpid(), 2**22 + 1]) is not None  # one that is gone holds nothing
    assert watch.memory([2**22 + 1]) is None


def test_dropped_connections_are_counted():
    """More connections than a listener's queue holds: the kernel's counter goes up."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        before = watch.listen_overflows()
        clients = [socket.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        until(lambda: watch.listen_overflows() > before)
        for client in clients:
            client.close()


# A program that does what it is told, a line at a time, and says when it has done it.
TOLD = """
import mmap, os, signal, sys, threading, time

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def child(work):
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    return pid

def daemon(work):
    def leave():
        os.setsid()
        child(work)
    os.waitpid(child(leave), 0)

kept = []
def keep(size):
    kept.append(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    for start in range(0, size, mmap.PAGESIZE):
        kept[-1][start] = 1

def wait():
    time.sleep(60)

def inside(*first):
    reading, writing = os.pipe()
    def work():
        for each in first:
            each()
        os.write(writing, b"!")
        wait()
    return work, lambda: os.read(reading, 1)

def threads(n):
    for _ in range(n):
        threading.Thread(target=wait, daemon=True).start()

print("there", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


@contextlib.contextmanager
def told(*wrapper, **environment):
    """A process in a session of its own and a way to tell it what to do."""
    process = subprocess.Popen(
        [*wrapper, sys.executable, *(() if wrapper else ("-c",)), TOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        env={**os.environ, **environment},
    )

    def tell(line=None):
        if line:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        assert process.stdout.readline()

    tell()
    try:
        yield process.pid, tell
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        if mark := environment.get(keeper.MARK):
            keeper.sweep(mark)
        process.communicate()


WRAPPED = ("sh", "-c", '"$0" -c "$1"; :')
BURNT_S = 0.3
CHILD = "w, ready = inside(lambda: burn({})); child(w); ready()"


def used_s(pid, tell, *lines):
    """What a watch says that a process and all that it started used, while it did this."""
    seen = watch.Watch([pid], lambda: None)
    seen.begin()
    for line in lines:
        tell(line)
    seen.end()
    assert seen.first.at_ns < seen.last.at_ns
    return seen.use().cpu_s


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([f"burn({BURNT_S})"], id="itself"),
        pytest.param([CHILD.format(BURNT_S)], id="a child that lives"),
        pytest.param([f"os.waitpid(child(lambda: burn({BURNT_S})), 0)"], id="a child that ended"),
        pytest.param(
            [f"os.waitpid(child(lambda: os.waitpid(child(lambda: burn({BURNT_S})), 0)), 0)"],
            id="a grandchild that ended",
        ),
    ],
)
@pytest.mark.parametrize("wrapper", [(), WRAPPED], ids=["plain", "behind sh"])
def test_cpu_is_that_of_the_whole_tree(lines, wrapper):
    """Whoever of a server's processes does the work, be it there at the end or not."""
    with told(*wrapper) as (pid, tell):
        assert used_s(pid, tell, *lines) == pytest.approx(BURNT_S, abs=0.08)


def test_what_left_the_servers_session_is_still_its_own():
    """A process that became a daemon carries the server's mark."""
    burning = f"w, ready = inside(lambda: burn({BURNT_S})); daemon(w); ready()"
    with told(**{keeper.MARK: f"{os.getpid()}-test."}) as (pid, tell):
        assert used_s(pid, tell, burning) == pytest.approx(BURNT_S, abs=0.08)
        assert len(processes.tree([pid])) == 2


def test_what_a_child_used_before_the_slice_is_not_of_the_slice():
    """It passes to its parent when that waits for it, and was used before."""
    with told() as (pid, tell):
        tell("r, w = os.pipe(); burnt, say = os.pipe()")
        tell("c = child(lambda: (burn(0.5), os.write(say, b'!'), os.read(r, 1)))")
        tell("os.read(burnt, 1)")
        assert used_s(pid, tell, "os.write(w, b'!'); os.waitpid(c, 0)") < 0.2


def test_children_that_nobody_waits_for_take_nothing_away():
    """Their time is lost, where a server ignores SIGCHLD; the rest is counted still."""
    with told() as (pid, tell):
        tell("signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
        tell("r, w = os.pipe(); burnt, say = os.pipe()")
        tell("c = child(lambda: (burn(0.5), os.write(say, b'!'), os.read(r, 1)))")
        tell("os.read(burnt, 1)")
        used = used_s(pid, tell, "os.write(w, b'!'); time.sleep(0.2)", f"burn({BURNT_S})")
        assert used == pytest.approx(BURNT_S, abs=0.08)


def test_cpu_of_a_slice_is_a_rate_between_the_readings():
    """The readings lie outside of the slice: what was used is scaled to its length."""
    seen = watch.Watch([os.getpid()], lambda: None)
    whole = watch._Reading(0, {(7, 0): Used(10**9, 0, 1)}, 0, {})
    seen.first = whole
    seen.last = whole._replace(at_ns=4 * 10**9, used={(7, 0): Used(3 * 10**9, 0, 1)})
    assert seen.use().cpu_s == 2.0
    assert seen.use(3.0).cpu_s == 1.5
    seen.last = None
    assert seen.use(3.0).cpu_s is None


@pytest.mark.unmeasured
def test_memory_threads_and_descriptors_are_those_of_the_whole_tree():
    """Before, with clients, and loaded; and how many processes there were."""
    size = 16 << 20
    with told(*WRAPPED) as (pid, tell):
        seen = watch.Watch([pid], lambda: None)
        tell(f"w, ready = inside(lambda: keep({size})); child(w); ready()")
        seen.connected()
        tell(f"w, ready = inside(lambda: keep({size})); child(w); ready()")
        tell("fds = [os.dup(0) for _ in range(100)]")
        tell("threads(10)")
        seen.loaded()
        use = seen.use()
        assert use.processes_max == 4
        assert use.threads_max == 4 + 10
        assert 100 < use.descriptors_max < 120
    grown = [
        (b.pss_bytes - a.pss_bytes) / size
        for a, b in ((use.before, use.after), (use.after, use.loaded))
    ]
    assert grown == pytest.approx([1, 1], abs=0.1)


def test_two_thousand_threads_are_counted():
    """By the links of their folder: what adds up their times would cost milliseconds."""
    with told() as (pid, tell):
        tell("threading.stack_size(65536)")
        tell("threads(2000)")
        assert watch.threads([pid]) == 2001
        assert watch.threads([pid, 2**22 + 1]) == 2001
    assert watch.threads([2**22 + 1]) is None


def test_an_entry_is_read_whatever_the_process_is_called():
    """A name may hold spaces and brackets; a thread of the kernel shows by its flags."""
    fields = "S 1 5 6 0 -1 {} 0 0 0 0 11 12 3 4 20 0 1 0 777 0"
    line = b"42 (a ) (b) " + fields.format(4194560).encode()
    assert processes.parsed(line) == Entry(42, 777, 1, 6, 7 * processes.TICK_NS, False)
    assert processes.parsed(b"2 (kthreadd) " + fields.format(2129984).encode()).kernel


# -- what else the machine does


def scene():
    return watch._scene()


def foreign(pid):
    """Whether a process counts as somebody else's."""
    seen = scene()
    return pid in {each for each, _ in seen.used} - seen.ours


def test_what_we_start_is_not_others():
    """The engine, its children and the sessions they lead do not gate their own trial."""
    mark = f"{os.getpid()}-test."
    with told(**{keeper.MARK: mark}) as (pid, tell):
        tell("child(wait)")
        tell("w, ready = inside(); daemon(w); ready()")
        family = {pid, *processes.tree([pid])}
        assert len(family) == 3
        assert not any(map(foreign, family))
    assert not foreign(os.getpid())


def burnt_s(pid):
    """The CPU time that a process has used."""
    return sum(psutil.Process(pid).cpu_times()[:2])


def test_another_process_that_burns_is_seen():
    """A foreign process's CPU shows, in cores."""
    script = f"{sys.executable} -c '{BURN.format(30)}' >/dev/null & echo $!"
    done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True, text=True)
    pid = int(done.stdout)
    try:
        until(lambda: burnt_s(pid) > 0.1)
        assert foreign(pid)
        began, before_s = time.monotonic(), burnt_s(pid)
        surroundings = watch.Surroundings()
        until(lambda: burnt_s(pid) > before_s + 0.3)
        noise = surroundings.noise()
        # however much of a core it got: what it used is there
        assert noise.others_cores * (time.monotonic() - began) > 0.25
        assert 0 <= noise.steal_share <= 1
    finally:
        os.kill(pid, signal.SIGKILL)


S = 10**9


def test_what_a_process_had_used_before_is_not_used_when_it_is_reaped():
    """Its time passes to who waited for it, over ancestors that are gone as well."""
    init, shell, child, new = (1, 0), (50, 7), (60, 8), (70, 9)
    before = {
        init: Used(10, 5, 0),
        shell: Used(1000, 0, 1),
        child: Used(360_000, 0, 50),
    }
    assert spent_ns(before, before) == 0
    reaped = {init: Used(11, 5 + 1000 + 360_000 + 3, 0)}
    assert spent_ns(before, reaped) == 4
    assert spent_ns(before, reaped | {new: Used(20, 0, 1)}) == 24
    assert spent_ns(before, reaped | {new: Used(20, 0, 1)}, of={70}) == 20
    # a pid that came again is another process, and an unfair end takes nothing from others
    assert spent_ns(before, {init: Used(17, 5, 0), (60, 99): Used(5, 0, 1)}) == 12


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5))
def test_what_was_spent_is_what_came_to_be(growth):
    """While nobody ends, what was spent is what was added."""
    before = {(pid, 0): Used(7 * pid, pid, 1) for pid in range(2, 2 + len(growth))}
    after = {
        process: Used(used.own_ns + more, used.waited_ns + more, 1)
        for (process, used), more in zip(before.items(), growth, strict=True)
    }
    assert spent_ns(before, after) == 2 * sum(growth)


def cores(busy_s, *, soft_s=0.0, stolen_s=0.0, hard=0, at_s=10.0):
    """A core's books at a time."""
    ticks = [round(each * S / processes.TICK_NS) for each in (at_s, busy_s, soft_s, stolen_s)]
    total, busy, soft, stolen = ticks
    return watch.Core(total - busy - soft - stolen, soft + hard, hard, stolen, total)


def scenes(*, kernel, hog_s, ours_s=1.0, soft_s=0.0, hog_seen=True):
    """Two scenes, 10 s apart, on two cores: ours (7) and a hog (9) that burn."""

    def at(begun):
        used = {(7, 0): Used(round(begun * ours_s * S), 0, 1)}
        if hog_seen:
            used[9, 0] = Used(round(begun * hog_s * S), 0, 1)
        return watch.Scene(
            at_ns=10 * S * begun,
            used=used,
            ours=frozenset({7}),
            kernel=frozenset({2} if kernel else ()),
            cores={
                0: cores(begun * ours_s, soft_s=begun * soft_s, at_s=begun * 10),
                1: cores(begun * hog_s, at_s=begun * 10),
            },
        )

    return at(0), at(1)


def test_others_are_told_by_their_clocks_where_all_are_seen():
    """Exactly, whatever the cores' books say."""
    found = watch.others(*scenes(kernel=True, hog_s=0.0123))
    assert found.cores == pytest.approx(0.00123)
    assert found.within == 0


def test_children_of_others_that_ended_are_known_to_two_ticks():
    """Their time is told in ticks: how far off that may be is said."""
    before, after = scenes(kernel=True, hog_s=0.0)
    after.used[9, 0] = Used(0, 3 * processes.TICK_NS, 1)
    found = watch.others(before, after)
    assert found.cores == pytest.approx(3 * processes.TICK_NS / (10 * S))
    assert found.within == pytest.approx(2 * processes.TICK_NS / (10 * S))


@pytest.mark.parametrize("hog_seen", [True, False])
def test_others_in_other_namespaces_are_seen_in_the_cores_books(hog_seen):
    """No thread of the kernel is to be seen: /proc does not show everybody (PID namespace)."""
    found = watch.others(*scenes(kernel=False, hog_s=5.0, soft_s=0.7, hog_seen=hog_seen))
    assert found.cores == pytest.approx(0.5, abs=0.01)
    assert 0 < found.within < 0.01
    assert watch.others(*scenes(kernel=False, hog_s=0.0, hog_seen=hog_seen)).cores < 1e-6


def test_where_nothing_tells_of_others_nothing_is_said():
    """Books that stand still, or no time between: not known, not none."""
    before, after = scenes(kernel=False, hog_s=1.0)
    assert watch.others(before, after._replace(cores=before.cores)) is None
    assert watch.others(before, after._replace(cores={})) is None
    assert watch.others(before, before) is None


def test_process_number_two_is_the_kernels_only_when_it_is():
    """In a container it is anybody: a hog, as well."""
    before, after = scenes(kernel=False, hog_s=5.0)
    moved = [
        each._replace(used={(2, 0): each.used[9, 0], (7, 0): each.used[7, 0]})
        for each in (before, after)
    ]
    assert watch.others(*moved).cores == pytest.approx(0.5, abs=0.01)


STAT = """cpu  30 0 6 170 4 1 5 2 0 0
cpu0 10 0 3 80 2 0 5 0 0 0
cpu1 20 0 3 90 2 1 0 2 0 0
intr 1 2 3
"""


def test_the_cores_books_are_read():
    """Of each core, ticks: idle, interrupts, stolen, all."""
    found = watch.cores_of(STAT)
    assert found == {0: watch.Core(82, 5, 0, 0, 100), 1: watch.Core(92, 1, 1, 2, 118)}
    assert watch.cores_of("") == {}


def test_busy_cores_are_those_of_the_server_alone():
    """What was not idle, of the cores that it is pinned to."""
    before = {n: watch.Core(0, 0, 0, 0, 0) for n in (0, 1, 2)}
    after = {0: watch.Core(25, 0, 0, 0, 100), 1: watch.Core(50, 0, 0, 0, 100), 2: before[2]}
    second = 100 * processes.TICK_NS
    assert watch.busy_cores(before, after, [0], second) == 0.75
    assert watch.busy_cores(before, after, [0, 1], second) == 1.25
    assert watch.busy_cores(before, after, [0], 0) is None
    assert watch.busy_cores(before, after, [], second) is None
    assert watch.busy_cores(before, after, [2], second) is None  # its books stand still
    assert watch.busy_cores(before, after, [0, 5], second) is None


def test_whether_interrupts_are_booked_apart_is_known():
    """From the kernel's configuration, or from what only such a kernel can see."""
    on, off = "CONFIG_IRQ_TIME_ACCOUNTING=y\n", "# CONFIG_IRQ_TIME_ACCOUNTING is not set\n"
    sees, none = watch.cores_of(STAT), {0: watch.Core(80, 5, 0, 0, 100)}
    assert watch.interrupts_apart(on, none) is True
    assert watch.interrupts_apart(off, none) is False
    assert watch.interrupts_apart(f"{off}CONFIG_HAVE_IRQ_TIME_ACCOUNTING=y\n", sees) is False
    assert watch.interrupts_apart(None, sees) is True
    assert watch.interrupts_apart(None, none) is None
    assert watch.read_interrupts_apart() in (True, False, None)


def test_available_memory_is_what_the_kernel_says():
    """One descriptor is read again and again, and each reading is a fresh one."""
    for _ in range(3):
        seen, known = watch.available_bytes(), psutil.virtual_memory().available
        assert seen == pytest.approx(known, rel=0.1)
    descriptors = watch.descriptors([os.getpid()])
    watch.available_bytes()
    assert watch.descriptors([os.getpid()]) == descriptors
