"""Guards several machines on hosts that are network namespaces.

Skipped, visibly, where namespaces are not permitted.
"""

import json
import os
import subprocess

import hosts
import pytest
from command import COMMAND, c10k
from scattered import children, workload
from waiting import echoes, until

from c10k import launch
from c10k.run import store

pytestmark = pytest.mark.timeout(600)
ADDRESS = f"tcp://10.77.0.1:{hosts.PORT}"


class Network(hosts.Hosts):
    """Hosts on a bridge, and the command as it is run on the scheduler's host."""

    def call(self, *words, timeout_s=180, **options):
        command = self.command("sched", COMMAND)
        return c10k(*words, command=command, timeout_s=timeout_s, **options)

    def run(self, *words, **options):
        return self.call("run", *words, "--scheduler", ADDRESS, **options)

    def listed(self):
        """The hosts that the command finds."""
        done = self.call("cluster", ADDRESS, "--json", code=None)
        return json.loads(done.stdout)["hosts"] if not done.returncode else []


@pytest.fixture
def network(tmp_path):
    """network(delay_ms=…) → a scheduler, a server's host and two client hosts on a bridge."""
    pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    if reason := hosts.why_not():
        pytest.skip(reason)
    there = Network(tmp_path)

    def build(delay_ms=0, more=((), ())):
        cores = sorted(os.sched_getaffinity(0))
        assert there.scheduler() == ADDRESS
        there.worker("srv", "server=1", ADDRESS, core=cores[0], delay_ms=delay_ms)
        for name, addresses in zip(("c1", "c2"), more, strict=True):
            there.worker(name, "client=1", ADDRESS, *addresses, core=cores[-1])
        until(lambda: len(there.listed()) == 3, 40)
        return there

    try:
        yield build
    finally:
        there.close()


def test_quick_runs_across_three_hosts(network, tmp_path):
    """The quick workload over a wire: every client served, nothing lost, hosts named."""
    there = network()
    assert [host["address"] for host in there.listed()] == ["10.77.0.3", "10.77.0.4", "10.77.0.2"]
    folder = tmp_path / "s"
    words = ["quick", "--servers", "asyncio_streams", "epoll_c", "--blocks", "1", "--clients"]
    done = there.run(*words, "100", "2k", "--unchecked", "--out", folder, "--json")
    stored = store.load(folder)
    assert len(stored.measurements) == 4
    for measured in stored.measurements:
        assert (measured.status, measured.lost, measured.altered) == ("ok", 0, 0)
        assert measured.served == measured.trial.load.clients
        assert {host.name for host in measured.hosts} == {"srv", "c1", "c2"}
        assert not [gate for gate in measured.gates if gate.kind == "host"]
    assert {row["hosts"] for row in json.loads(done.stdout)["rows"]} == {"srv ← c1, c2"}
    assert {"c1: cpu", "c2: cpu"} <= stored.environment.keys()


def test_a_delay_on_the_wire_is_in_the_latency(network, tmp_path):
    """20 ms more on the way back (tc netem, or a relay where the kernel has none)."""
    there = network(delay_ms=20)
    folder = tmp_path / "s"
    there.run(workload(tmp_path, clients=10), "--unchecked", "--out", folder)
    (measured,) = store.load(folder).measurements
    assert measured.status == "ok"
    assert measured.latency.p50_us >= 20_000


@pytest.mark.parametrize("way", ["kill", "cut"])
def test_a_client_host_that_vanishes_costs_its_trial(network, tmp_path, way):
    """Killed or cut off in mid-trial: the attempt is kept with its reason, repeated elsewhere."""
    there = network()
    folder = tmp_path / "s"
    path = workload(tmp_path, duration_s=6, repeats=1)
    words = ["run", path, "--unchecked", "--scheduler", ADDRESS]
    command = there.command("sched", [*COMMAND, *map(str, words), "--out", str(folder)])
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as running_command:
        until(lambda: any(echoes(each.pid) for each in children(there.processes["c2"][0])), 40)
        getattr(there, way)("c2")
        _, errors = running_command.communicate(timeout=90)
    assert running_command.returncode == 0, errors
    assert "Traceback" not in errors
    first, second = store.load(folder).measurements
    assert (first.status, first.vanished, first.attempt) == ("failed", "c2", 0)
    assert "the host c2 is gone" in first.reason
    assert any((gate.kind, gate.words[:2]) == ("host", "c2") for gate in first.gates)
    assert (second.status, second.attempt, second.served) == ("ok", 1, 20)
    assert {host.name for host in second.hosts} == {"srv", "c1"}


def test_what_the_hosts_have_no_ports_for_is_refused_with_the_arithmetic(network, tmp_path):
    """Ports of each host are counted there, times the source addresses that it has."""
    there = network(more=(("10.77.0.41",), ()))
    for name in ("c1", "c2"):
        there.system(name, "sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40099")
    for name, label in (("c1", "client=2"), ("c2", "client=1")):
        there.kill(name)  # what a host is, is asked once: let them join anew
        there.worker(name, label, ADDRESS)
    until(lambda: [host["clients"] for host in there.listed()][:2] == [200, 100], 40)
    folder = tmp_path / "s"
    there.run(workload(tmp_path, clients="[240, 400]"), "--unchecked", "--out", folder)
    fits, refused = sorted(store.load(folder).measurements, key=lambda m: m.trial.load.clients)
    assert (fits.status, fits.served) == ("ok", 240)
    assert refused.status == "not run"
    assert (
        "400 clients do not fit, 300 would: c1 has room for 200 (100 local ports" in refused.reason
    )


def test_thirty_thousand_connections_from_two_hosts(network, tmp_path):
    """More than one host has ports for, onto one server of several processes: none is lost."""
    there = network()
    clients = 30_000
    processes = 1 + clients // (launch.raise_descriptor_limit() - 2000)
    folder = tmp_path / "s"
    path = workload(tmp_path, kind="idle", clients=clients, duration_s=3)
    there.run(*(path, "--unchecked", "--processes", processes, "--out", folder), timeout_s=300)
    (measured,) = store.load(folder).measurements
    assert (measured.status, measured.reason) == ("ok", "")
    assert (measured.connected, measured.served, measured.lost) == (clients, clients, 0)
    assert measured.trial.server == f"asyncio_streams-x{processes}"
    assert [host.clients for host in measured.hosts] == [0, 15_000, 15_000]
