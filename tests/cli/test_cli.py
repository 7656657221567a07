"""Guards the command line as a user meets it: tables, JSON, exit codes, one-line errors."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import made
import psutil
import pytest
from command import c10k

from c10k import check, cli, machine, paths
from c10k.cli import results
from c10k.cli.interrupt import Interruptible
from c10k.run import store

pytestmark = pytest.mark.once

QUICK = """
title = "A short one"
servers = ["asyncio_streams", "threads_sockets"]
blocks = {blocks}
control = {control}
repeats = {repeats}
[[load]]
kind = "closed"
clients = [{clients}]
warmup_s = 0.1
duration_s = {duration}
"""


@pytest.fixture
def workload(tmp_path):
    """workload(...) → the path of a short workload file."""

    def write(extra="", **fields):
        kept = {"blocks": 1, "clients": "2, 5", "duration": 0.3, "control": "false", "repeats": 0}
        path = tmp_path / "short.toml"
        path.write_text(QUICK.format(**kept | fields) + extra)
        return path

    return write


def test_run_prints_the_table_and_where_the_session_is(workload, tmp_path):
    """The main job: a row per server and count, and the folder that holds the evidence."""
    # a percentile needs ten intervals of 100 ms
    done = c10k("run", workload(duration=1.2), "--out", tmp_path / "s")
    assert f"Session: {tmp_path}/s" in done.stdout.replace("\n", "")
    assert done.stdout.count("asyncio_streams") >= 2
    rows = json.loads(c10k("show", tmp_path / "s", "--json").stdout)["rows"]
    assert {(row["server"], row["clients"]) for row in rows} == {
        (server, clients) for server in ("asyncio_streams", "threads_sockets") for clients in (2, 5)
    }
    for row in rows:
        assert (row["status"], row["lost"], row["altered"]) == ("ok", 0, 0)
        assert row["served"] == row["connected"] == row["clients"]
        for key in ("messages_per_s", "latency_p50_us", "server_cpu_us_per_message", "connect_s"):
            assert row[key] > 0, key
    assert "asyncio\\_streams" in c10k("show", tmp_path / "s", "--format", "markdown").stdout


def test_a_session_names_no_place_of_this_machine(workload, tmp_path):
    """What is published holds no path of a home or of the suite's own folder."""
    c10k("run", workload(clients="2"), "--out", tmp_path / "s")
    for file in ("session.json", "trials.jsonl"):
        text = (tmp_path / "s" / file).read_text()
        assert str(paths.SUITE) not in text
        assert str(Path.home()) not in text


def test_run_json_is_json(workload, tmp_path):
    """With --json standard output is one document; the progress goes elsewhere."""
    done = c10k(
        "run", workload(), "--json", "--clients", "3", "--servers", "asyncio_streams",
        "--blocks", "1", "--seed", "5", "--unchecked", "--out", tmp_path / "s",
    )  # fmt: skip
    (row,) = json.loads(done.stdout)["rows"]
    assert row["clients"] == 3
    assert store.load(tmp_path / "s").plan.seed == 5


@pytest.mark.parametrize("counts", [["2,3"], ["2", "3"]])
def test_counts_are_given_with_commas_or_spaces(workload, tmp_path, counts):
    """--clients 2,3 and --clients 2 3 are the same."""
    c10k("run", workload(), "--out", tmp_path / "s", "--unchecked", "--clients", *counts)
    seen = {m.trial.load.clients for m in store.load(tmp_path / "s").measurements}
    assert seen == {2, 3}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere"], "nowhere"),
        (["run", "--servers", "nobody"], "nobody"),
        (["run", "--servers", "@nobody"], "@nobody"),
        (["run", "--clients", "lots"], "--clients"),
        (["run", "--clients", "0"], "--clients"),
        (["run", "--clients", "1000000000000"], "--clients"),
        (["run", "--blocks", "0"], "--blocks"),
        (["run", "--blocks", "x"], "blocks"),
        (["run", "--precision", "narrow"], "narrow"),
        (["run", "--precision", "3%", "--time", "soon"], "soon"),
        (["run", "--max-blocks", "3"], "--precision"),
        (["run", "--colour", "red"], "--colour"),
        (["run", "--resume", "/nonexistent"], "no session here"),
        (["show", "/nonexistent"], "no session here"),
        (["show"], "FOLDER"),
        (["check", "nobody"], "nobody"),
        (["check"], "--list"),
        (["check", "threads_sockets", "--junit", "/nonexistent/junit.xml"], "/nonexistent"),
        (["check", "asyncio_streams", "--cases", "none"], "none"),
        (["serve", "nobody"], "nobody"),
        (["serve", "asyncio_streams", "--bind", "nonsense"], "nonsense"),
        (["serve", "asyncio_streams", "--bind", "127.0.0.1:99999"], "99999"),
        (["serve", "asyncio_streams", "--bind", "192.0.2.1:80"], "192.0.2.1"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(words, says):
    """What was wrong is named, in one line, and nothing is started."""
    done = c10k(*words, code=2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_malformed_workload_names_file_and_key(workload):
    """The line names the file and the key."""
    path = workload(extra='\n[[load]]\nkind = "burst"\nclients = 1\n')
    done = c10k("run", path, code=2)
    assert f"{path}: load[1].kind" in done.stderr


def test_a_missing_framework_is_a_row_with_the_install_command(workload, tmp_path):
    """A contender that cannot run here has its row; the others run."""
    server = tmp_path / "nope_server.py"
    server.write_text(
        '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["no-such-framework>=3"]\n'
        '# [tool.c10k]\n# title = "t"\n# model = "m"\n# unit = "u"\n# tier = "variant"\n# ///\n'
    )
    c10k("run", workload(), "--servers", server, "asyncio_streams", "--out", tmp_path / "s")
    rows = json.loads(c10k("show", tmp_path / "s", "--json").stdout)["rows"]
    missing = [row for row in rows if row["server"] == "nope_server"]
    assert {row["status"] for row in missing} == {"not run"}
    assert "pip install 'no-such-framework>=3'" in missing[0]["reason"]
    assert {row["status"] for row in rows if row["server"] == "asyncio_streams"} == {"ok"}


def test_without_a_compiler_the_floor_is_a_row(workload, tmp_path):
    """No C compiler: the floor is not run and says what to install."""
    bare = tmp_path / "bin"
    bare.mkdir()
    environment = {"PATH": str(bare), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    servers = ["--servers", "epoll_c", "threads_sockets"]
    c10k("run", workload(), *servers, "--out", tmp_path / "s", environment=environment)
    rows = json.loads(c10k("show", tmp_path / "s", "--json").stdout)["rows"]
    floor = [row for row in rows if row["server"] == "epoll_c"]
    assert {row["status"] for row in floor} == {"not run"}
    assert "no compiler" in floor[0]["reason"]


def test_where_no_server_can_run_nothing_begins(workload, tmp_path):
    """One line with the reason instead of a session in which every row is 'not run'."""
    servers = ["--servers", "threads_sockets@/etc/passwd"]
    done = c10k("run", workload(), *servers, "--out", tmp_path / "s", code=2)
    why = "threads_sockets@etc-passwd: no interpreter /etc/passwd on this machine"
    assert done.stderr.splitlines()[-1] == f"c10k: no server can run here: {why}"
    assert not (tmp_path / "s").exists()


def test_where_no_client_count_fits_nothing_begins(workload, tmp_path):
    """One line with the reason and the remedy instead of a table in which nothing was run."""
    clients = ["--servers", "asyncio_streams", "--clients", "10000000"]
    done = c10k("run", workload(), *clients, "--out", tmp_path / "s", code=2)
    assert re.match(
        r"c10k: no trial can run here: at most [\d,]+ clients fit: ", done.stderr.splitlines()[-1]
    )
    assert not (tmp_path / "s").exists()


def test_too_few_descriptors_is_said_first_and_smaller_counts_run(workload, tmp_path):
    """One line: how many fit, what to type; the counts that fit are measured."""
    done = c10k(
        "run", workload(clients="5, 2000"), "--out", tmp_path / "s",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024)),
    )  # fmt: skip
    lines = done.stdout.splitlines()
    (first,) = [index for index, line in enumerate(lines) if line.startswith("! at most")]
    assert re.search(r"at most 960 clients fit.*", lines[first])
    assert "--nofile" in done.stdout or "ulimit -n" in done.stdout
    assert first < next(i for i, line in enumerate(lines) if "1/" in line)
    rows = json.loads(c10k("show", tmp_path / "s", "--json").stdout)["rows"]
    assert {row["status"] for row in rows if row["clients"] == 5} == {"ok"}
    assert {row["status"] for row in rows if row["clients"] == 2000} == {"not run"}


def offspring(process):
    return psutil.Process(process.pid).children(recursive=True)


def test_what_has_changed_since_is_named_and_refused(workload, tmp_path):
    """A server that was edited meanwhile: refused with its name; --force marks the session."""
    server = tmp_path / "mine_sockets.py"
    server.write_text((paths.SERVERS / "threads_sockets.py").read_text())
    folder = tmp_path / "s"
    c10k(
        "run", workload(clients="2", blocks=2), "--servers", server, "--unchecked", "--out", folder
    )
    for name in ("session.json", "trials.jsonl", "finished.json"):
        (folder / name).chmod(0o644)
    (folder / "finished.json").unlink()  # as if it had ended after its first trial
    trials = folder / "trials.jsonl"
    trials.write_bytes(trials.read_bytes().splitlines(keepends=True)[0])
    server.write_text(server.read_text() + "\n")
    done = c10k("run", "--resume", folder, code=2)
    assert f"{server}: its code" in done.stderr.replace("~", str(Path.home()))
    assert len(done.stderr.splitlines()) == 1
    assert "--force" in done.stderr
    assert len(store.load(folder).measurements) == 1
    assert "mixed: " in c10k("run", "--resume", folder, "--force").stdout
    assert len(store.load(folder).measurements) == 2
    assert "is finished" in c10k("run", "--resume", folder, code=2).stderr


def alive(processes):
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_check_passes_a_good_server_and_fails_a_bad_one(tmp_path):
    """Exit code 0 or 1, and the failing case by name."""
    good = json.loads(c10k("check", "asyncio_streams", "--json").stdout)["checks"]
    assert good[0]["status"] == "ok"
    assert c10k("check", "threads_sockets", "--cases", "one-byte").stdout.count("ok") >= 1
    bad = Path(__file__).parents[1] / "bad_servers" / "loses_after_half_close.py"
    done = c10k("check", bad, "--cases", "one-byte", "half-close", code=1)
    assert re.search(r"^loses_after_half_close +half-close +failed ", done.stdout, re.MULTILINE)


def test_check_tells_its_cases_and_writes_junit(tmp_path):
    """--list has every case of both kits; --junit is for other programs' viewers."""
    listed = json.loads(c10k("check", "--list", "--json").stdout)["cases"]
    assert [each["name"] for each in listed] == [each.name for each in check.CASES + check.LONG]
    assert "out-of-threads  " in c10k("check", "--list").stdout
    c10k("check", "threads_sockets", "--cases", "unix", "--junit", tmp_path / "junit.xml")
    suite = ElementTree.parse(tmp_path / "junit.xml").find("testsuite")
    assert [test.get("name") for test in suite] == ["start", "unix"]


def test_a_server_that_fails_its_check_is_not_timed(workload, tmp_path):
    """Its row names the case; nothing of it was measured."""
    bad = Path(__file__).parents[1] / "bad_servers" / "chatters_on_stdout.py"
    c10k("run", workload(), "--servers", bad, "--out", tmp_path / "s")
    rows = json.loads(c10k("show", tmp_path / "s", "--json").stdout)["rows"]
    assert {row["status"] for row in rows} == {"failed"}
    assert "fails the check silence" in rows[0]["reason"]
    assert rows[0]["messages_per_s"] is None


def test_serve_runs_a_server_by_hand_until_interrupted():
    """It says where it listens, echoes, and ends with its child on Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "c10k", "serve", "asyncio_streams"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    port = re.search(r"127\.0\.0\.1:(\d+)", line)[1]
    with made.connection(int(port)) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    started = offspring(process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert alive(started) == []


def test_list_and_doctor_have_json():
    """What a program would read, it can."""
    listed = json.loads(c10k("list", "--json").stdout)
    assert {"threads_sockets", "epoll_c"} <= {server["name"] for server in listed["servers"]}
    assert "quick" in {workload["name"] for workload in listed["workloads"]}
    assert json.loads(c10k("doctor", "--json").stdout)["findings"]


COMMANDS = (
    "run",
    "list",
    "new",
    "check",
    "serve",
    "show",
    "compare",
    "race",
    "explain",
    "export",
    "report",
    "claims",
    "cluster",
    "doctor",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    """--help of each command shows how it is called."""
    assert "Example: c10k" in c10k(command, "--help").stdout


def test_the_commands_are_those_that_are_tested():
    """A new command gets its help tested."""
    assert set(COMMANDS) == {name for name in cli.app if not name.startswith("-")}


def test_a_reader_that_leaves_is_no_error():
    """c10k list | head does not end in a traceback."""
    done = subprocess.run(
        f"{sys.executable} -m c10k list | head -1", shell=True, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stderr == ""


def test_another_process_that_burns_gates_and_repeats_trials(workload, tmp_path):
    """The session finishes, its disturbed trials repeated and kept, and the table says so."""
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        done = c10k(
            "run", workload(clients="2", repeats=2), "--servers", "asyncio_streams",
            "--unchecked", "--out", tmp_path / "s",
        )  # fmt: skip
    finally:
        burner.kill()
        burner.wait()
    kept = store.load(tmp_path / "s").measurements
    assert [m.attempt for m in kept][:3] == [0, 1, 2]
    assert all(any(gate.kind == "others" for gate in m.gates) for m in kept)
    assert "3 of 3 trials were gated (others 3" in done.stdout
    (row,) = json.loads(c10k("show", tmp_path / "s", "--json").stdout)["rows"]
    assert row["gated"] == 3


def test_precision_adds_blocks_until_it_is_reached_or_says_why_not(workload, tmp_path):
    """More blocks than declared, and a line that says which of the goals ended it."""
    done = c10k(
        "run", workload(clients="2", control="true"), "--unchecked", "--out", tmp_path / "s",
        "--precision", "0.1%", "--max-blocks", "3",
    )  # fmt: skip
    assert "3 blocks, as many as allowed" in done.stdout
    blocks = {m.trial.block for m in store.load(tmp_path / "s").measurements}
    assert blocks == {0, 1, 2}


@pytest.mark.alone
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot pin")
def test_a_client_on_the_servers_core_makes_bounds_that_are_not_ranked(workload, tmp_path):
    """A weak client decides no ranking: its rows are client-bound, printed as ≥, and tie."""

    def on_one_core():
        os.sched_setaffinity(0, {0})
        if os.geteuid() == 0:  # other tests run beside this one, and must not have the core
            os.nice(-19)

    done = c10k(
        "run", workload(clients="50", control="true", blocks=3), "--unchecked",
        "--out", tmp_path / "s", preexec_fn=on_one_core,
    )  # fmt: skip
    assert "server and clients on core 0" in done.stdout
    assert "server and clients share core 0" in done.stdout
    assert "≥: the client was the limit" in done.stdout.replace("≥, ≤ and ~", "≥")
    rows = json.loads(c10k("show", tmp_path / "s", "--json").stdout)["rows"]
    bound = [row for row in rows if row["bound"]]
    assert bound  # not each: others may have had the core for a while
    for row in bound:
        assert "client CPU" in row["limiter"]
        assert row["verdict"] not in ("faster", "slower")
        assert row["rank"] in (1, None)


@pytest.mark.skipif(len(machine.cores_allowed() or ()) < 2, reason="has one core, or cannot pin")
def test_a_server_that_has_every_core_shares_the_last_one_and_the_table_says_so(workload, tmp_path):
    """The option is in the stored plan, and who had which cores is above the table."""
    last, folder = max(machine.cores_allowed()), tmp_path / "s"
    words = ["--unchecked", "--server-cores", "all", "--out", folder]
    done = c10k("run", workload(clients="5"), *words)
    shown = " ".join(done.stdout.split())
    assert f"clients on core {last}" in shown
    assert f"! server and clients share core {last}, so the clients' work takes from" in shown
    session = store.load(folder)
    assert session.plan.workload.server_cores == "all"
    assert {m.shared_cores for m in session.measurements} == {(last,)}
    refused = c10k("run", "--resume", folder, "--server-cores", "1", code=2)
    assert "cannot be combined with --server-cores" in refused.stderr


@pytest.mark.parametrize(
    ("cores", "says"),
    [
        ("0", "--server-cores 0: must be 1 or more"),
        ("-1", "--server-cores -1: must be 1 or more"),
        ("x", "--server-cores x: must be a whole number or all"),
        ("1.5", "--server-cores 1.5: must be a whole number or all"),
        ("99999", f"server cores, 99999: this machine has {len(machine.cores_allowed() or ())} "),
    ],
)
@pytest.mark.parametrize("command", [["run", "quick"], ["race", "epoll_c", "asyncio_streams"]])
def test_cores_that_a_server_cannot_have_are_refused_in_one_line(command, cores, says, tmp_path):
    """Before anything is started or written."""
    done = c10k(*command, "--server-cores", cores, "--out", tmp_path / "s", code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"c10k: {says}")
    assert not (tmp_path / "s").exists()


def test_a_workload_that_asks_for_too_many_cores_is_refused_too(workload, tmp_path):
    """Also when its session is continued on a smaller machine."""
    path = workload()
    path.write_text(f"server_cores = 99999\n{path.read_text()}")
    done = c10k("run", path, "--out", tmp_path / "s", code=2)
    assert "server cores, 99999" in done.stderr
    session = made.session()
    asked = made.replace(session.plan.workload, server_cores=99999)
    begun = made.replace(session, plan=made.replace(session.plan, workload=asked), measurements=())
    made.kept(tmp_path / "begun", begun)
    done = c10k("run", "--resume", tmp_path / "begun", code=2)
    assert "server cores, 99999" in done.stderr


def test_show_filters_sorts_and_picks_columns(tmp_path):
    """The same words as everywhere; what is not there is one line that names what is."""
    folder = made.kept(tmp_path / "s", made.session(beta={"tier": "floor"}))
    done = c10k("show", folder, "--servers", "@floor", "--clients", "10k", "--columns", "p99")
    assert "beta" in done.stdout
    assert "alpha" not in done.stdout
    assert "connect" not in done.stdout
    for words, says in (
        (("--servers", "gamma"), "choose from alpha, beta"),
        (("--sort", "beauty"), "there is no column 'beauty'"),
        (("--clients", "many"), "invalid count 'many'"),
    ):
        assert says in c10k("show", folder, *words, code=2).stderr


def test_watching_a_session_ends_when_it_is_finished(tmp_path, monkeypatch, capsys):
    """Every further trial is shown as soon as it is looked for, and then it is over."""
    whole = made.session()
    folder = made.kept(tmp_path / "s", made.replace(whole, measurements=whole.measurements[:6]))
    left = list(whole.measurements[6:])

    def later(seconds):
        _, writer = store.resume(folder)
        writer.append(left.pop(0))
        writer.close()

    monkeypatch.setattr(results, "sleep", later)
    assert results.show(folder, watch=True) == 0
    out = capsys.readouterr().out
    assert out.count("ended early") == 2
    assert out.count("A made-up session.") == 3
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_interrupt_is_lost_where_python_drops_it(number):
    """In a destructor or in a hook at a fork nobody can be told: it is raised again."""

    class Interrupted:
        def __del__(self):
            signal.raise_signal(number)

    before = signal.getsignal(signal.SIGALRM), sys.unraisablehook
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt), Interruptible():
            Interrupted()
            time.sleep(5)
            raise AssertionError("nothing came")
        signal.raise_signal(signal.SIGINT)  # a second one does not cut off the last words
    finally:
        signal.signal(signal.SIGINT, interrupts)
    assert (signal.getsignal(signal.SIGALRM), sys.unraisablehook) == before


def race(workload, folder, *words, code):
    return c10k(
        "race", *words[:2], workload(blocks=3, clients="2"), "--out", folder, "--unchecked",
        *words[2:], code=code,
    )  # fmt: skip


def test_a_race_has_both_in_one_session_and_a_twin_of_the_first(workload, tmp_path):
    """Whatever the workload says of reference and control, and as often as can be judged."""
    done = race(workload, tmp_path / "s", "asyncio_protocol", "asyncio_streams", code=0)
    assert "A: asyncio_protocol. B: asyncio_streams." in done.stdout
    assert "Continue" not in done.stdout
    stored = store.load(tmp_path / "s")
    assert stored.plan.workload.reference == "asyncio_protocol"
    assert stored.plan.control == "asyncio_protocol-control"
    assert {m.trial.block for m in stored.measurements} == set(range(6))
    again = c10k("compare", tmp_path / "s", "asyncio_protocol", "asyncio_streams")
    assert again.stdout == done.stdout[done.stdout.index(again.stdout[:40]) :]


def test_a_race_that_is_lost_fails_the_gate(workload, tmp_path):
    """The new version fails every trial: exit code 1, and what it was."""
    done = race(
        workload, tmp_path / "s", "asyncio_streams", "new=false", "--fail-on", "5%", "--format",
        "json", "--blocks", "1", code=1,
    )  # fmt: skip
    (row,) = json.loads(done.stdout)["failed"]
    assert (row["server"], row["verdict"]) == ("new / asyncio_streams", "broken")
    assert "broken: new / asyncio_streams, 2 clients, closed 64 B: B: failed" in done.stderr


def test_a_race_takes_two_that_are_told_apart(workload, tmp_path):
    """Not one server twice, and no whole tier."""
    for words in (("trio_streams", "trio_streams"), ("@canonical", "trio_streams")):
        done = race(workload, tmp_path / "s", *words, code=2)
        assert "two servers with different names" in done.stderr
