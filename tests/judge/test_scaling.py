"""Guards what shows over several client counts, on real servers whose answer is known."""

import json
import sys
from pathlib import Path

import made
import pytest

from c10k import cli, paths
from c10k.judge import judge, samples
from c10k.model import Memory
from c10k.plan import gates
from c10k.render import table
from c10k.run import store

pytestmark = pytest.mark.once

KNOWN = paths.SUITE / "benchmarks" / "instrument" / "known_servers"


def run(capsys, *words):
    """The command line's exit code and the JSON that it printed."""
    with pytest.raises(SystemExit) as ended:
        sys.argv = ["c10k", *map(str, words)]
        cli.main()
    return ended.value.code, json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def arguments(monkeypatch):
    """What a test puts into sys.argv is taken back."""
    monkeypatch.setattr(sys, "argv", ["c10k"])


@pytest.mark.alone
def test_memory_per_client_is_what_the_server_keeps(tmp_path, capsys):
    """128 KiB a client more than the same server without: within 5 %, with its interval."""
    workload = tmp_path / "memory.toml"
    servers = [str(KNOWN / f"keeps_{kept}KiB_a_client.py") for kept in (0, 128)]
    workload.write_text(
        f'title = "memory"\nservers = {json.dumps(servers)}\nblocks = 2\ncontrol = false\n'
        '[[load]]\nkind = "idle"\nclients = [10, 100, 400, 800]\nduration_s = 0.05\n'
    )
    code, found = run(capsys, "run", workload, "--unchecked", "--json", "--out", tmp_path / "s")
    assert code == 0
    none, some = (
        next(row for row in found["memory"] if f"_{kept}KiB" in row["server"]) for kept in (0, 128)
    )
    for kind in ("pss", "private"):
        grown = some[kind]["per_client"] - none[kind]["per_client"]
        assert grown == pytest.approx(128 * 1024, rel=0.05)
    assert some["pss"]["low"] < some["pss"]["per_client"] < some["pss"]["high"]
    assert abs(some["shared"]["per_client"]) < 1024


def test_thread_stacks_are_counted(tmp_path, capsys):
    """A thread per client: one thread more for each, and the kernel's stacks with them."""
    workload = tmp_path / "threads.toml"
    workload.write_text(
        'title = "threads"\nservers = ["threads_sockets"]\nblocks = 1\ncontrol = false\n'
        '[[load]]\nkind = "idle"\nclients = [10, 100, 400]\nduration_s = 0.05\n'
    )
    _, found = run(capsys, "run", workload, "--unchecked", "--json", "--out", tmp_path / "s")
    (row,) = found["memory"]
    assert row["threads"]["per_client"] == pytest.approx(1.0, abs=0.02)
    assert row["kernel_stacks"]["per_client"] == pytest.approx(16 * 1024, rel=0.2)
    assert 2048 < row["page_tables"]["per_client"] < 8192
    assert row["slab"] is not None
    assert row["total"] is not None  # how much depends on what else the machine does


def test_a_planted_breaking_point_is_found(tmp_path, capsys, monkeypatch):
    """A server that accepts 150 clients and no more: found exactly, and what broke is said."""
    # Other tests run beside this one, and the p99 of a second is not what it is about.
    monkeypatch.setattr(gates, "gates", lambda measured: ())
    monkeypatch.setattr(samples, "percentile_allowed", lambda *_: True)
    workload = tmp_path / "breaking.toml"
    workload.write_text(
        f'title = "breaking"\nservers = ["{KNOWN / "accepts_150.py"}"]\n'
        "connect_timeout_s = 0.7\ndrain_s = 1\n"
        "[search]\nleast = 40\nmost = 1000\np99_ms = 5000\n"
        '[[load]]\nkind = "open"\nclients = 1\nrate = 12000\nwarmup_s = 0.1\nduration_s = 1.0\n'
    )
    code, found = run(capsys, "run", workload, "--unchecked", "--json", "--out", tmp_path / "s")
    (point,) = found["breaking"]
    assert code == 0
    assert (point["holds"], point["fails"], point["served"]) == (150, 151, 150)
    assert point["broke"] == "connecting"
    assert "150 of 151 clients served" in point["reason"]


def test_slopes_of_made_up_readings():
    """Each part of the memory has its own slope, and all have one; a storm's do not count."""

    def measure(trial):
        clients = trial.load.clients
        read = [Memory(n * 100, n * 70, n * 30, n * 16, n * 5, n * 8, n * 4) for n in (0, clients)]
        use = made.ServerUse(before=read[0], after=read[1], threads_max=1 + clients)
        return made.ok(trial, server=use)

    loads = [made.load(n) for n in (1, 10, 100)] + [made.load(1000, kind="storm")]
    (row, *_) = judge(made.session(loads=loads, measure=measure)).memory
    assert row.counts == (1, 10, 100)
    slopes = (row.pss, row.private, row.shared, row.kernel_stacks, row.sockets, row.threads)
    assert [round(slope.per_client, 6) for slope in slopes] == [100, 70, 30, 16, 5, 1]
    others = (row.slab, row.page_tables, row.total)
    assert [round(slope.per_client, 6) for slope in others] == [8, 4, 133]


def test_memory_that_lacks_a_part_has_no_total():
    """Sessions of before did not read page tables: their own memory is shown, and no sum."""

    def measure(trial):
        read = [Memory(n * 100, n * 70, n * 30, n * 16, n * 5, n * 8) for n in (0, 1000)]
        return made.ok(trial, server=made.ServerUse(before=read[0], after=read[1]))

    judged = judge(made.session(loads=[made.load(n) for n in (1, 10, 100)], measure=measure))
    assert {(row.total, row.page_tables) for row in judged.memory} == {(None, None)}
    row = judged.rows[0]
    assert row.memory_per_client_bytes is None
    assert row.own_memory_per_client_bytes.median > 0


def test_the_leanest_server_of_all_that_it_takes_comes_first():
    """The kernel's part decides with the rest: small heaps on many threads are not lean."""

    def measure(trial):
        own, kernel = {"alpha": (100, 900), "beta": (300, 300)}[trial.server]
        read = [made.memory(n * own, slab_bytes=n * kernel) for n in (0, trial.load.clients)]
        return made.ok(trial, server=made.ServerUse(before=read[0], after=read[1]))

    loads = [made.load(n, kind="idle") for n in (1, 10, 100)]
    judged = judge(made.session(loads=loads, measure=measure))
    found = table._memory(judged.memory)
    assert [line.cells[0] for line in found.lines] == ["beta", "alpha"]
    assert len(found.lines[0].cells) == len(found.headings)


@pytest.mark.alone
def test_servers_that_work_in_children_are_measured_whole(tmp_path, capsys):
    """Behind a shell a server costs what it costs without; a forking one is not free."""
    workload = tmp_path / "children.toml"
    workload.write_text(
        'title = "children"\nservers = ["asyncio_streams"]\nblocks = 1\ncontrol = false\n'
        '[[load]]\nkind = "closed"\nclients = 50\nwarmup_s = 0.2\nduration_s = 1.0\n'
    )
    plain = paths.SUITE / "servers" / "asyncio_streams.py"
    wrapped = f"wrapped=sh -c '{sys.executable} -P {plain}; :'"
    code, _ = run(
        capsys,
        *("run", workload, "--unchecked", "--json", "--out", tmp_path / "s", "--servers"),
        *("asyncio_streams", wrapped, "socketserver_forking"),
    )
    assert code == 0
    rows = {row.server: row for row in judge(store.load(tmp_path / "s")).rows}
    for name in ("server_cpu_us_per_message", "own_memory_per_client_bytes"):
        twin, shell, forking = (
            getattr(rows[server], name).median
            for server in ("asyncio_streams", "wrapped", "socketserver_forking")
        )
        assert 0.5 < shell / twin < 2  # costs vary with what else runs, but not to nothing
        assert forking > twin / 2
    assert rows["wrapped"].threads_max.median == 2  # the shell and the server
    assert rows["socketserver_forking"].threads_max.median >= 51


def test_links_of_a_known_server_are_one_file():
    """What it keeps stands in its name; nothing else tells the copies apart."""
    assert len({path.read_bytes() for path in Path(KNOWN).glob("keeps_*.py")}) == 1
