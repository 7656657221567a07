"""machine/: reading is tested for the shape of what it gives, judging with made-up facts."""

import json
import os
import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k import machine
from c10k.launch import interpreter
from c10k.machine import Activity, Facts, Limits, read

AMPLE = Limits(
    descriptors_soft=1024,
    descriptors_hard=1_000_000,
    user_processes=100_000,
    port_low=1024,
    port_high=65_535,
    somaxconn=4096,
    threads_max=100_000,
    pid_max=4_194_304,
    max_map_count=1_048_576,
)
GOOD = Facts(
    limits=AMPLE,
    cores_allowed=(0, 1, 2, 3),
    cores_logical=4,
    governors=("performance",),
    smt=False,
    turbo=False,
    clocksource="tsc",
    memory_available_bytes=8 * 2**30,
    swap_used_bytes=0,
    pressure_percent={"cpu": 0.0},
    python_optimised=True,
    activity=Activity(seconds=1.0, others_cores=0.01, steal_cores=0.0),
)


def with_limits(**changes: object) -> Facts:
    return msgspec.structs.replace(GOOD, limits=msgspec.structs.replace(AMPLE, **changes))


# -- capacity ------------------------------------------------------------------------------


def test_capacity_names_the_descriptor_limit_and_what_to_run() -> None:
    """Too few descriptors: one line with how many fit, why, and a command that can work."""
    capacity = machine.capacity(10_000, Limits(descriptors_hard=1024, privileged=True))
    assert (capacity.clients, capacity.bound, capacity.enough) == (960, "descriptors", False)
    assert capacity.reason == (
        "at most 960 clients fit: 1,024 descriptors per process (ulimit -n); "
        "run 'ulimit -n 11000' to allow more"
    )
    assert machine.capacity(10_000, Limits(descriptors_hard=11_000)).enough


def test_capacity_without_privilege_names_a_command_that_raises_the_hard_limit() -> None:
    """ulimit -n cannot go above the hard limit for a user, so it is not what is advised."""
    capacity = machine.capacity(10_000, Limits(descriptors_hard=1024))
    assert capacity.remedy == "sudo prlimit --pid $$ --nofile=11000:11000"


def test_capacity_counts_the_hard_limit_only() -> None:
    """The launcher raises the soft limit itself, so it bounds nothing."""
    assert machine.capacity(10_000, Limits(descriptors_soft=256, descriptors_hard=20_000)).enough


def test_capacity_counts_ports_once_for_each_source_address() -> None:
    """A narrow port range bounds the clients; more source addresses widen it."""
    limits = Limits(port_low=60_000, port_high=60_999, ports_reserved=100)
    one = machine.capacity(5000, limits)
    assert (one.clients, one.bound) == (900, "ports")
    assert "ip_local_port_range" in one.remedy
    assert machine.capacity(5000, limits, addresses=6).enough


def test_capacity_grows_with_the_servers_processes() -> None:
    """Each process has descriptors of its own; the advice counts them."""
    limits = Limits(descriptors_hard=20_000, privileged=True)
    assert machine.capacity(100_000, limits, processes=6).enough
    few = machine.capacity(100_000, limits, processes=4)
    assert (few.clients, few.bound, few.remedy) == (79_744, "descriptors", "ulimit -n 26000")


def test_capacity_keeps_to_the_memory_that_may_be_taken() -> None:
    """More clients than the budget holds are refused, with the option that allows more."""
    refused = machine.capacity(100_000, Limits(), budget_bytes=40 * 1024 * 50_000)
    assert (refused.clients, refused.bound) == (50_000, "memory")
    assert refused.reason == (
        "at most 50,000 clients fit: 1,953 MiB may be taken, at 40 KiB a client; "
        "pass --memory 80% to allow more"
    )
    assert machine.capacity(50_000, Limits(), budget_bytes=40 * 1024 * 50_000).enough


def test_a_worker_holds_what_its_descriptors_allow() -> None:
    """The hard limit without the reserve; without a limit there is no bound."""
    assert machine.worker_clients(Limits(descriptors_hard=20_000)) == 19_936
    assert machine.worker_clients(Limits()) is None


def test_the_client_keeps_as_many_descriptors_back_as_the_suite_counts_on() -> None:
    """The client cannot import the suite, so it has the number a second time."""
    import echo_client

    assert echo_client.SPARE_DESCRIPTORS == machine.RESERVE


def test_capacity_where_no_limit_is_known() -> None:
    """A system that reports no limit refuses nobody."""
    assert machine.capacity(10_000, Limits()).enough


@given(
    wanted=st.integers(1, 100_000),
    hard=st.none() | st.integers(0, 10**6),
    low=st.integers(1, 65_535),
    size=st.integers(0, 65_535),
    reserved=st.integers(0, 65_535),
)
def test_capacity_is_whole_for_any_limits(
    wanted: int, hard: int | None, low: int, size: int, reserved: int
) -> None:
    """Never negative, never more than wanted, and a refusal always says why and what to do."""
    limits = Limits(
        descriptors_hard=hard, port_low=low, port_high=low + size, ports_reserved=reserved
    )
    capacity = machine.capacity(wanted, limits)
    assert 0 <= capacity.clients <= wanted
    assert capacity.enough == (capacity.reason == "") == (capacity.remedy == "")


# -- doctor --------------------------------------------------------------------------------


def test_a_good_machine_gets_no_complaint() -> None:
    """doctor is quiet where nothing is wrong."""
    assert {found.severity for found in machine.findings(GOOD)} == {"ok"}


def changed(**changes: object) -> Facts:
    return msgspec.structs.replace(GOOD, **changes)


@pytest.mark.parametrize(
    ("facts", "what", "severity", "remedy"),
    [
        (changed(governors=("powersave",)), "governor", "warn", "cpupower"),
        (changed(turbo=True), "turbo", "note", "no_turbo"),
        (changed(smt=True), "hyper-threading", "note", "smt/control"),
        (changed(virtual="KVM"), "virtual machine", "note", "one session"),
        (changed(cores_allowed=(0,)), "cores", "warn", "two cores"),
        (
            changed(cores_allowed=(0, 1), siblings=(frozenset({0, 1}),)),
            "cores",
            "warn",
            "two cores",
        ),
        (changed(cores_allowed=None), "cores", "note", ""),
        (with_limits(cgroup_cores=1.5), "cores", "warn", "--cpuset-cpus"),
        (changed(activity=Activity(1.0, 0.5, 0.0)), "other load", "warn", "ps -eo"),
        (changed(activity=Activity(1.0, 0.0, 0.05)), "steal", "warn", "instance"),
        (changed(pressure_percent={"cpu": 9.0}), "pressure", "warn", "top"),
        (changed(clocksource="hpet"), "clocksource", "warn", "tee"),
        (changed(clocksource="kvm-clock"), "clocksource", "note", "tee"),
        (with_limits(descriptors_hard=1024), "descriptors", "warn", "prlimit"),
        (with_limits(port_low=60_000), "ports", "warn", "ip_local_port_range"),
        (with_limits(somaxconn=128), "somaxconn", "warn", "somaxconn=4096"),
        (with_limits(user_processes=4096), "threads", "note", "ulimit -u"),
        (with_limits(threads_max=9000), "threads", "note", "threads-max"),
        (with_limits(pid_max=10_000), "threads", "note", "pid_max"),
        (with_limits(max_map_count=20_000), "threads", "note", "max_map_count"),
        (with_limits(cgroup_pids=512), "threads", "note", "TasksMax"),
        (changed(memory_available_bytes=2**28), "memory", "warn", "ps -eo"),
        (with_limits(cgroup_memory_bytes=2**28), "memory", "warn", "ps -eo"),
        (changed(swap_used_bytes=2**30), "swap", "note", "swapoff"),
        (changed(python_optimised=False), "python", "warn", "--enable-optimizations"),
        (
            changed(python_optimised=False, optimised="/usr/bin/python3.11"),
            "python",
            "warn",
            "make clean bench PYTHON=/usr/bin/python3.11",
        ),
        (changed(python_debug=True), "python", "warn", "release build"),
    ],
)
def test_each_fault_is_found_alone_with_its_remedy(
    facts: Facts, what: str, severity: str, remedy: str
) -> None:
    """One thing wrong gives one finding, of its severity, with the command that mends it."""
    (found,) = [found for found in machine.findings(facts) if found.severity != "ok"]
    assert (found.what, found.severity) == (what, severity)
    assert remedy in found.remedy


def test_what_is_not_reported_is_not_judged() -> None:
    """macOS reports little: no finding is made up, and none raises."""
    assert machine.findings(Facts()) == []


def test_doctor_reads_this_machine() -> None:
    """The reading half works here, whatever it finds; it watches for about a second."""
    found = machine.doctor()
    assert {"cores", "descriptors", "other load"} <= {finding.what for finding in found}
    assert all(finding.remedy for finding in found if finding.severity == "warn")


def test_activity_leaves_out_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1.2 core seconds in 2 s, 1 was this process: the others used a tenth of a core."""
    times = iter(
        [
            SimpleNamespace(user=10.0, system=5.0, steal=1.0, idle=7.0),
            SimpleNamespace(user=11.0, system=5.2, steal=1.5, idle=9.0),
        ]
    )
    own, clock = iter([3.0, 4.0]), iter([100.0, 102.0])
    monkeypatch.setattr(read.psutil, "cpu_times", lambda: next(times))
    fake = SimpleNamespace(
        process_time=lambda: next(own), monotonic=lambda: next(clock), sleep=lambda seconds: None
    )
    monkeypatch.setattr(read, "time", fake)
    activity = machine.read_activity(2.0)
    assert activity.seconds == 2.0
    assert activity.others_cores == pytest.approx(0.1)
    assert activity.steal_cores == pytest.approx(0.25)


# -- reading -------------------------------------------------------------------------------


def fake_files(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    monkeypatch.setattr(read, "text", lambda path: files.get(str(path)))


def test_quota_is_the_tightest_of_all_groups_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2: a group's parent may be the one that is bounded."""
    fake_files(
        monkeypatch,
        {
            "/proc/self/cgroup": "0::/a/b",
            "/sys/fs/cgroup/a/b/cpu.max": "max 100000",
            "/sys/fs/cgroup/a/cpu.max": "150000 100000",
            "/sys/fs/cgroup/a/pids.max": "512",
            "/sys/fs/cgroup/a/b/pids.max": "max",
        },
    )
    assert read._quota() == 1.5
    assert machine.read_limits().cgroup_pids == 512


def test_quota_of_version_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 has a tree per controller, -1 for no quota and a huge number for no limit."""
    folder = "/sys/fs/cgroup"
    fake_files(
        monkeypatch,
        {
            "/proc/self/cgroup": "4:cpu,cpuacct:/x\n3:memory:/x\n0::/",
            f"{folder}/cpu/cpu.cfs_quota_us": "-1",
            f"{folder}/cpu/cpu.cfs_period_us": "100000",
            f"{folder}/cpu/x/cpu.cfs_quota_us": "50000",
            f"{folder}/cpu/x/cpu.cfs_period_us": "100000",
            f"{folder}/memory/x/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert read._quota() == 0.5
    assert machine.read_limits().cgroup_memory_bytes is None


def test_reserved_ports_are_counted_within_the_range_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserved ports outside the range take nothing from the clients."""
    fake_files(
        monkeypatch,
        {
            "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999",
            "/proc/sys/net/ipv4/ip_local_reserved_ports": "8080,32760-32769,60999,61000-61010",
        },
    )
    limits = machine.read_limits()
    assert (limits.port_low, limits.port_high, limits.ports_reserved) == (32_768, 60_999, 3)


def test_a_system_without_proc_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc, /sys and affinity are missing (macOS), reading gives None, never raises."""
    fake_files(monkeypatch, {})
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    facts = machine.read_facts(0.01)
    assert facts.cores_allowed is None
    assert facts.clocksource is None
    assert facts.limits.somaxconn is None
    assert facts.pressure_percent == {}
    assert "not pinned" in machine.cores().note
    json.dumps(machine.environment())


# -- environment ---------------------------------------------------------------------------


def strings(tree: object) -> list[str]:
    if isinstance(tree, dict):
        return [text for pair in tree.items() for part in pair for text in strings(part)]
    if isinstance(tree, list):
        return [text for part in tree for text in strings(part)]
    return [tree] if isinstance(tree, str) else []


def test_the_environment_can_be_published() -> None:
    """JSON, whole, and without a word of host, user, paths or environment variables."""
    environment = machine.environment(Path(__file__).parents[2])
    assert json.loads(json.dumps(environment)) == environment
    groups = {"cpu", "memory", "system", "limits", "python", "client", "suite", "moment"}
    assert set(environment) == groups
    assert environment["python"]["gil_enabled"] in (True, False)
    assert environment["system"]["irq_time_accounting"] in (True, False, None)
    for text in strings(environment):
        assert text != platform.node()
        assert str(Path.home()) not in text
        assert "/home/" not in text
        assert str(Path(__file__).parents[2]) not in text


@pytest.mark.parametrize("now", [0.0, 4e9])
def test_a_wrong_clock_spoils_no_environment(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """A clock with a time before the machine booted, or far in the future, is not an error."""
    right = machine.environment()
    monkeypatch.setattr("time.time", lambda: now)
    assert machine.differences(right, machine.environment()) == []


def test_an_environment_does_not_differ_from_itself() -> None:
    """Two looks at one machine, one of them from a file, show no difference."""
    first = machine.environment()
    assert machine.differences(first, json.loads(json.dumps(machine.environment()))) == []


def test_differences_are_one_line_each() -> None:
    """What changed, from what to what; a key that only one side has counts, load does not."""
    old = {"cpu": {"model": "A", "governors": ["powersave"]}, "moment": {"load_1min": 0.1}}
    new = {"cpu": {"model": "B", "governors": [], "smt": True}, "moment": {"load_1min": 3.0}}
    assert machine.differences(old, new) == [
        "cpu.governors: powersave → none",
        "cpu.model: A → B",
        "cpu.smt: unknown → True",
    ]


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    """Recorded for a checkout's top with whether it was modified, and for nothing else."""

    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    nothing = {"commit": None, "modified": None}
    assert machine.environment(tmp_path)["suite"] == nothing
    git("init")
    git("commit", "--allow-empty", "-m", "one")
    clean = machine.environment(tmp_path)["suite"]
    assert len(clean["commit"]) == 40
    assert clean["modified"] is False
    (tmp_path / "results" / "reference-mine").mkdir(parents=True)
    (tmp_path / "results" / "reference-mine" / "trials.jsonl").write_text("")
    assert machine.environment(tmp_path)["suite"] == clean  # the session that is being written
    (tmp_path / "server.py").write_text("")
    assert machine.environment(tmp_path)["suite"] == {**clean, "modified": True}
    (tmp_path / "inner").mkdir()
    assert machine.environment(tmp_path / "inner")["suite"] == nothing


def test_a_python_of_debian_is_known_to_be_optimised() -> None:
    """Its packages are built with PGO and LTO, which their configuration does not show."""
    of_others, of_debian = (
        set(interpreter.build_flags("'--enable-shared'", "-O2", debian)) for debian in (False, True)
    )
    assert interpreter.PGO not in of_others
    assert {interpreter.PGO, interpreter.LTO} <= of_debian
