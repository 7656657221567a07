"""Guards the run: order, storing at once, refusals as rows, resuming, and clean-up."""

import os
import re
import signal
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import made
import psutil
import pytest
from msgspec import convert, to_builtins
from msgspec.structs import replace

from c10k import launch, machine, paths, plan
from c10k.declare import catalog
from c10k.launch import keeper, runtime, server, watch
from c10k.model import CaseResult, Conformance, Measurement, Workload
from c10k.plan.gates import bound_by
from c10k.run import executor, session, store, worker_plans
from c10k.run.executor import Rules
from c10k.run.local import LocalExecutor, LocalSite


@pytest.fixture
def writer(tmp_path):
    """A session folder that is open for writing."""
    opened = store.create(tmp_path / "s", made.session())
    yield opened
    opened.close()


def test_every_trial_runs_in_the_plans_order_and_is_stored_before_the_next(writer):
    """The executor sees the plan's order; what it measured is on disk before it goes on."""
    planned = made.session().plan
    seen = []

    def execute(trial):
        assert len(store.load(writer.folder).measurements) == len(seen)
        seen.append(trial)
        return made.ok(trial)

    session.run(planned, execute, writer)
    assert tuple(seen) == planned.trials


def test_an_interrupt_keeps_what_was_measured_and_resume_runs_the_rest(writer):
    """After an interrupt the same plan goes on where it stopped; nothing runs twice."""
    planned = made.session().plan
    seen = []

    def execute(trial):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(trial)
        return made.ok(trial)

    with pytest.raises(KeyboardInterrupt):
        session.run(planned, execute, writer)
    done = store.load(writer.folder).measurements
    assert [m.trial for m in done] == seen
    session.run(planned, lambda t: (seen.append(t), made.ok(t))[1], writer, done=done)
    assert tuple(seen) == planned.trials


def test_a_refusal_is_a_row_with_its_reason(writer):
    """What cannot run, or may not, is stored as such and the rest goes on."""

    def execute(trial):
        if trial.server == "alpha":
            raise executor.Refusal("no compiler")
        raise executor.Refusal("fails the check half-close", failed=True)

    session.run(made.session().plan, execute, writer)
    found = {(m.trial.server, m.status, m.reason) for m in store.load(writer.folder).measurements}
    assert found == {
        ("alpha", "not run", "no compiler"),
        ("beta", "failed", "fails the check half-close"),
    }


def test_what_a_trial_did_wrong_is_said_in_words():
    """Clients not served, echoes lost or altered, and errors are each in the reason."""
    trial = made.session().plan.trials[0]
    fine = made.ok(trial)
    assert executor.faults(fine, {}) == ""
    wrong = made.ok(trial, served=90, lost=3, errors={"Connection reset by peer": 10})
    said = executor.faults(wrong, {"doubled": 2})
    for part in (f"90 of {trial.load.clients}", "3 echoes lost", "2 echoes doubled", "10 × Conn"):
        assert part in said


@pytest.fixture
def local(tmp_path):
    """local(server file, clients) → the measurement of one real, short trial."""

    def run(path, clients=20, kind="closed", workers=1, before=lambda: None, **options):
        server = replace(catalog.read(path), processes=options.pop("processes", 1))
        # the ceiling bounds how long clients that are starved are waited for
        length_s = options.pop("duration_s", 0.4)
        short = made.load(clients, kind=kind, warmup_s=0.1, duration_s=length_s, ceiling_s=4.0)
        chosen = made.workload([server.name], [short], 1, connect_timeout_s=3.0, drain_s=0.5)
        planned = plan.make(chosen, [server], 1)
        execute = LocalExecutor(
            planned,
            tmp_path,
            Rules({server.name: runtime.prepare(server)}),
            machine.Pinning(None, None, workers, "not pinned"),
            **options,
        )
        before()
        return execute(planned.trials[0])

    return run


def children():
    """Processes that this test started and that still run; the keeper is to stay."""
    stays = keeper.keeper().process.pid
    found = psutil.Process().children(recursive=True)
    return [each for each in found if each.status() != "zombie" and each.pid != stays]


@pytest.mark.once
@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 3])
def test_the_clients_of_a_real_trial_are_served_evenly(local, workers):
    """Where nothing else takes the core of one of the workers."""
    seen = local(paths.SERVERS / "asyncio_streams.py", workers=workers)
    assert 0.9 < seen.fairness <= 1


@pytest.mark.parametrize("workers", [1, 3])
def test_a_real_trial_gives_every_figure(local, workers):
    """One server, real sockets: counts are whole, figures are there, nothing is left."""
    seen = local(paths.SERVERS / "asyncio_streams.py", workers=workers)
    assert (seen.status, seen.reason) == ("ok", "")
    assert (seen.connected, seen.served, seen.lost, seen.altered) == (20, 20, 0, 0)
    assert seen.messages > 100
    assert seen.latency.count >= seen.messages
    assert 0 < seen.fairness <= 1
    assert seen.server.cpu_s > 0
    assert seen.server.after.pss_bytes > seen.server.before.pss_bytes > 0
    assert children() == []


def test_idle_gives_memory_and_no_rate(local):
    """Connections that are held cost memory; messages per second would mean nothing."""
    seen = local(paths.SERVERS / "asyncio_streams.py", kind="idle")
    assert seen.status == "ok"
    assert seen.messages_per_s is None
    assert seen.server.after is not None


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import time; time.sleep(60)", "no echo after it was started"),
        ("raise SystemExit('no such framework')", "exited with code 1: no such framework"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
    ],
)
def test_a_server_that_does_not_come_to_serve_costs_its_own_trial(
    local, tmp_path, monkeypatch, body, says
):
    """A failure to start is a measurement with its reason, and the process is gone."""
    monkeypatch.setattr(server, "READY_S", 1.0)
    monkeypatch.setattr(
        launch.start, "__kwdefaults__", {**launch.start.__kwdefaults__, "ready_s": 1.0}
    )
    seen = local(contender(tmp_path, body))
    assert seen.status == "failed"
    assert says in seen.reason
    assert children() == []


HEAD = """# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.c10k]
# title = "t"
# model = "m"
# unit = "u"
# tier = "variant"
# ///
"""

ECHO = """
import os, socket, sys, threading, time
def echo(client):
    global total
    while data := client.recv(65536):
        client.sendall(data)
        total += 1
        {then}
total = 0
listener = socket.socket(fileno=0)
while True:
    client, _ = listener.accept()
    threading.Thread(target=echo, args=(client,), daemon=True).start()
"""


def contender(folder, body):
    """A server file with this body."""
    path = folder / "made_server.py"
    path.write_text(HEAD + body)
    return path


def test_a_server_that_dies_in_the_middle_costs_its_own_trial(local, tmp_path):
    """Dead in the slice: the reason says how, and how many had been served stands beside it."""
    body = ECHO.format(then="if total > 500: os.kill(os.getpid(), 9)")
    seen = local(contender(tmp_path, body))
    assert seen.status == "failed"
    assert "killed by SIGKILL" in seen.reason
    assert seen.served == 20
    assert children() == []


def test_a_server_that_prints_a_megabyte_is_measured_and_its_log_capped(local, tmp_path):
    """What a server says is kept, capped, and does not disturb the trial."""
    body = ECHO.format(then="").replace(
        "total = 0\n", "total = 0\nsys.stderr.write('x' * 1_000_000)\n"
    )
    seen = local(contender(tmp_path, body))
    assert seen.status == "ok"
    (log,) = tmp_path.glob("*.log")
    assert log.stat().st_size < 70_000


def test_starved_clients_are_counted(local, tmp_path):
    """A server that serves only half of its clients has exactly those without an echo."""
    body = ECHO.format(then="if client.fileno() % 2: time.sleep(60)")
    seen = local(contender(tmp_path, body))
    assert seen.status == "failed"
    assert seen.clients_without_echo == seen.lost == 10
    assert seen.slowest_share == 0
    assert seen.latency.max_us > 0.4e6  # they waited through the slice and the drain


def test_an_interrupt_leaves_no_process(local, tmp_path):
    """Ctrl-C in the middle of a trial: server and worker are gone when it has unwound."""

    def soon():  # server and worker take about 0.4 s to start
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.6)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        local(paths.SERVERS / "asyncio_streams.py", before=soon)
    assert time.monotonic() - began < 10
    assert children() == []


@pytest.mark.parametrize("kind", ["storm", "churn"])
def test_coming_and_going_is_measured(local, kind):
    """Every client that came was served; what the kernel had to repeat and queue is told."""
    overflows = watch.listen_overflows()
    seen = local(paths.SERVERS / "asyncio_streams.py", kind=kind, workers=2)
    assert (seen.status, seen.reason) == ("ok", "")
    assert (seen.connected, seen.served, seen.lost) == (20, 20, 0)
    assert seen.messages == 20 if kind == "storm" else seen.messages > 20
    assert seen.latency.count >= seen.messages
    assert seen.retried == 0
    if sys.platform == "linux":  # counted for the whole machine: no more than it saw meanwhile
        assert 0 <= seen.server.listen_overflows <= watch.listen_overflows() - overflows
    assert (seen.launched_s is not None) == (kind == "storm")
    assert children() == []


def test_a_storm_that_is_not_served_in_time_says_how_many_were(local, tmp_path):
    """Clients without a first echo are a failure with their number, never left out."""
    body = ECHO.format(then="").replace(
        "    threading.Thread",
        "    kept.append(client)\n    if len(kept) <= 11: threading.Thread",
    )
    body = body.replace("total = 0\n", "total, kept = 0, []\n")
    seen = local(contender(tmp_path, body), kind="storm")
    assert seen.status == "failed"
    assert seen.served == 10  # one connection was the launcher's own
    assert "10 of 20 clients served" in seen.reason
    assert seen.latency.count == 20


def test_more_clients_than_a_worker_holds_get_more_workers(local):
    """One worker holds so many; the rest goes to others, and nothing is lost between them."""
    seen = local(paths.SERVERS / "asyncio_streams.py", clients=50, worker_clients=20)
    assert (seen.status, seen.workers, seen.served) == ("ok", 3, 50)


def test_several_processes_serve_together(local):
    """CPU and memory are those of all copies together, and none is left."""
    one = local(paths.SERVERS / "asyncio_streams.py")
    three = local(paths.SERVERS / "asyncio_streams.py", processes=3)
    assert three.status == "ok"
    assert three.server.before.pss_bytes > 2.5 * one.server.before.pss_bytes
    assert three.server.threads_max == 3 * one.server.threads_max
    assert children() == []


def test_a_trial_that_takes_too_much_memory_is_stopped(local, monkeypatch):
    """Past its share of the free memory a trial ends with that reason, and nothing is left."""
    free = iter([10 * 2**30])
    monkeypatch.setattr("c10k.run.local.available_bytes", lambda: next(free, 4 * 2**30))
    seen = local(paths.SERVERS / "asyncio_streams.py")
    assert seen.status == "failed"
    assert "stopped for memory" in seen.reason
    assert children() == []


def test_refusals_name_the_first_reason():
    """Not here, does not fit, fails its check: in this order, and else nothing."""
    trial = made.session().plan.trials[0]
    bad = Conformance("alpha", "", "", (CaseResult("echo", "failed", "no echo"),))
    cases = [
        ({trial.server: "no gcc"}, lambda t: "too many", {}, "no gcc"),
        ({}, lambda t: "too many", {trial.server: bad}, "too many"),
        ({}, lambda t: "", {trial.server: bad}, "fails the check echo: no echo"),
    ]
    for cannot, why_unfit, conformance, says in cases:
        with pytest.raises(executor.Refusal, match=says):
            executor.refusals(cannot, why_unfit, conformance)(trial)
    executor.refusals({}, lambda t: "", {})(trial)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux has")
def test_the_engine_is_silent_in_a_slice(local, monkeypatch):
    """Between the slice's ends nothing of /proc is opened and no server's CPU clock is read.

    Such looks made threads' p99 ten times too long: they take the kernel milliseconds.
    """
    within, opened = [False], []

    def noted(event, arguments):
        if within[0] and event == "open" and not isinstance(arguments[0], int):
            opened.append(arguments[0])

    sys.addaudithook(noted)
    begin, end = watch.Watch.begin, watch.Watch.end
    clock = time.clock_gettime_ns

    def begun(self):
        begin(self)
        within[0] = True

    def ended(self):
        within[0] = False
        end(self)

    def read(number):
        assert not within[0], "a CPU clock was read in the slice"
        return clock(number)

    monkeypatch.setattr(watch.Watch, "begin", begun)
    monkeypatch.setattr(watch.Watch, "end", ended)
    monkeypatch.setattr(time, "clock_gettime_ns", read)
    seen = local(paths.SERVERS / "asyncio_streams.py", duration_s=2.5)
    assert seen.status == "ok"
    assert seen.engine_cpu_s is not None
    assert opened == []


def cores_of(pid):
    """The cores that the kernel lets a process use, as it lists them."""
    status = Path(f"/proc/{pid}/status").read_text()
    return re.search(r"^Cpus_allowed_list:\s*(\S+)$", status, re.MULTILINE)[1]


@pytest.mark.skipif(len(machine.cores_allowed() or ()) < 2, reason="has one core, or cannot pin")
@pytest.mark.parametrize("wanted", [0, 1, 2, "all"])
def test_every_process_of_a_server_may_use_all_cores_of_the_server(tmp_path, monkeypatch, wanted):
    """Each has the cores that were asked for; where clients have one of them, the trial says so."""
    first, last, *_ = machine.cores_allowed()
    seen = []

    def look(site):
        seen.extend(map(cores_of, site.running.pids))
        begin(site)

    begin = LocalSite.begin
    monkeypatch.setattr(LocalSite, "begin", look)
    one = catalog.read(paths.SERVERS / "asyncio_streams.py")
    server = replace(one, processes=2, sharing="one-socket")
    short = made.load(10, warmup_s=0.1, duration_s=0.2)
    chosen = made.workload([server.name], [short], 1, processes=2, server_cores=wanted)
    planned = plan.make(chosen, [server], 1)
    allowed = [first, last]  # of a machine of two cores
    pinned = machine.pinning(allowed, (), 2, chosen.processes, chosen.server_cores)
    rules = Rules({server.name: runtime.prepare(server)})
    measured = LocalExecutor(planned, tmp_path, rules, pinned)(planned.trials[0])
    both = wanted in (2, "all")
    here = f"{first}-{last}" if last == first + 1 else f"{first},{last}"
    assert (measured.status, measured.reason) == ("ok", "")
    assert seen == 2 * [here if both else str(first)]
    assert measured.server.cores == (2 if both else 1)
    assert measured.shared_cores == ((last,) if both else ())
    assert measured.workers == 1


@pytest.mark.skipif(len(machine.cores_allowed() or ()) < 2, reason="has one core, or cannot pin")
def test_what_anybody_does_on_a_shared_core_counts_as_the_clients_share(monkeypatch):
    """On the server's cores the core's own books count, elsewhere only where clocks lack some."""
    busy = SimpleNamespace(cpus=(0, 1), busy=lambda cpus: {0: 0.2, 1: 0.7, 2: 0.9}[cpus[0]])
    site = SimpleNamespace(watch=busy)
    for apart, cores, share in (
        (False, (1,), 0.7),
        (False, (2,), 0.0),
        (False, (2, 1), 0.7),
        (True, (2, 1), 0.9),
        (False, (), 0.0),
    ):
        monkeypatch.setattr("c10k.run.local.read_interrupts_apart", lambda apart=apart: apart)
        assert LocalSite.busiest(site, cores) == share


def test_a_machine_with_many_cores_has_addresses_for_all_of_its_workers():
    """Each worker's are its own, and every number of an address fits in a byte."""
    found = [address for n in range(1000) for address in worker_plans.loopback_sources(n)]
    assert len(set(found)) == len(found)
    assert all(ip_address(address).is_loopback for address in found)
    assert found[0] == "127.0.1.1"


def test_a_session_from_before_cores_could_be_chosen_still_loads():
    """Its servers had one core for each process, and one core of both is still a bound."""
    session = made.session()
    old = to_builtins(session.plan.workload)
    del old["server_cores"]
    assert convert(old, Workload).server_cores == 0
    trial = to_builtins(made.ok(session.plan.trials[0], one_core=True, cpu_s=1.9))
    del trial["shared_cores"]
    read = convert(trial, Measurement)
    assert (read.shares_core, read.shared_cores) == (True, ())
    assert bound_by(read)
