"""Guards the servers over TLS: each keeps the contract, and echoes exactly under each load."""

import ast
import json
import os
import signal
import subprocess

import pytest
from command import COMMAND, c10k
from made import result
from waiting import gone, until

from c10k import check, launch, paths
from c10k.declare import catalog
from c10k.launch import requirements

pytest.importorskip("trustme", reason="the extra tls makes certificates")

FOLDER = paths.SERVERS / "tls"
SERVERS = catalog.find(FOLDER)
# Of each kind of load, what makes it short.
KINDS = {
    "closed": {"duration_s": 0.3, "warmup_s": 0.1},
    "open": {"duration_s": 0.3, "warmup_s": 0.1, "rate": 200},
    "idle": {"duration_s": 0.1},
    "storm": {},
    "churn": {"duration_s": 0.3, "warmup_s": 0.1, "ceiling_s": 0.5, "connecting": 4},
}


@pytest.fixture(params=SERVERS, ids=lambda server: server.name)
def server(request):
    """Each server in turn; skipped, visibly, where it cannot run."""
    if reason := requirements.why_not_runnable(request.param):
        pytest.skip(reason)
    return request.param


def plan(running, **load):
    """The client's plan for a running server."""
    authority = running.certificate.authority.read_text()
    return {"port": running.address[1], "authority": authority, "clients": 10, **load}


def test_there_is_one_of_each_framework():
    """The seven of the first page, under their frameworks' names."""
    frameworks = {"asyncio", "curio", "gevent", "threads", "trio", "twisted", "uvloop"}
    assert {each.name for each in SERVERS} == {f"{name}_tls" for name in frameworks}
    assert all(each.tls and each.tier == "tls" for each in SERVERS)
    assert not any(each.tls for each in catalog.find(paths.SERVERS))


def test_it_keeps_the_contract(server, tmp_path):
    """The first kit, without what TLS does not have."""
    found = check.check(server, workdir=tmp_path).results
    not_ok = {each.case: each.detail for each in found if each.verdict != "ok"}
    assert set(not_ok) == {"half-close", "half-close-unread"}
    assert all("not tried over TLS" in why for why in not_ok.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_echo_is_exact(server, kind, client, serving):
    """Nothing is lost, altered or an error, and it is said what was negotiated."""
    running = serving(FOLDER / f"{server.name}.py")
    events = client(**plan(running, kind=kind, message_bytes=20_000, **KINDS[kind]))
    seen = result(events)
    told = seen if kind == "storm" else events[0]
    assert (told["served"], told["failed"]) == (10, {})
    assert told["tls"].startswith("TLSv1.3 TLS_")
    assert (seen["lost"], seen["altered"], seen["errors"]) == (0, 0, {})
    assert seen["messages"] > 0


def test_several_messages_at_a_time_and_a_unix_socket(client, serving, tmp_path):
    """What has a way of its own through the client."""
    running = serving(FOLDER / "asyncio_tls.py", bind=f"unix:{tmp_path}/socket")
    load = {"port": 0, "path": running.address, "depth": 3, **KINDS["closed"]}
    seen = result(client(**plan(running, **load)))
    assert (seen["lost"], seen["altered"], seen["errors"]) == (0, 0, {})
    assert seen["clients_answered"] == 10


def test_a_docstring_says_what_the_unit_is_and_where_it_switches():
    """As of every other server."""
    for each in SERVERS:
        source = paths.file_of(each.path).read_text(encoding="utf-8")
        said = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
        assert "The unit of concurrency is" in said
        assert "switches" in said


@pytest.mark.once
def test_a_session_says_above_its_table_what_was_negotiated_and_leaves_no_key(tmp_path):
    """Two servers, one of them plain; the certificate is gone with the command."""
    workload = tmp_path / "small.toml"
    workload.write_text(
        'title = "small"\nservers = ["asyncio_tls", "asyncio_streams"]\nblocks = 1\n'
        "control = false\nrepeats = 0\n"
        '[[load]]\nkind = "storm"\nclients = 10\n'
        '[[load]]\nkind = "idle"\nclients = 10\nduration_s = 0.1\n'
    )
    (tmp_path / "tmp").mkdir()
    folder = tmp_path / "session"
    done = c10k(
        *("run", workload, "--unchecked", "--out", folder),
        environment={"TMPDIR": str(tmp_path / "tmp"), "COLUMNS": "1000"},
    )
    assert "over TLS (not asyncio_streams): TLSv1.3 TLS_" in done.stdout
    assert "No session is resumed" in done.stdout
    assert "first echo, TLS handshake included" in done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []
    rows = json.loads(c10k("show", folder, "--json").stdout)["rows"]
    assert {row["server"]: row["status"] for row in rows} == {
        "asyncio_tls": "ok",
        "asyncio_streams": "ok",
    }


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_key_is_private_and_gone_after_an_interrupt(number, tmp_path):
    """Only this user can read it, and it does not outlive the command, however that ends."""
    command = subprocess.Popen(
        [*COMMAND, "serve", "asyncio_tls"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    try:
        assert "serves" in command.stdout.readline()
        assert "authority" in command.stdout.readline()
        (key,) = tmp_path.glob("**/key")
        assert key.stat().st_mode & 0o777 == 0o600
        assert "PRIVATE KEY" in key.read_text()
        command.send_signal(number)
        command.wait(20)
        until(lambda: list(tmp_path.iterdir()) == [])
    finally:
        command.kill()
        command.wait()
        command.stdout.close()
    assert gone(command.pid)


@pytest.mark.once
def test_without_trustme_it_is_said_what_to_install(tmp_path):
    """One line, and nothing is started."""
    hidden = "import sys, importlib.util as u; f = u.find_spec\n"
    hidden += "u.find_spec = lambda name, *rest: None if name == 'trustme' else f(name, *rest)\n"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    paths_too = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = c10k("serve", "asyncio_tls", code=2, environment={"PYTHONPATH": paths_too})
    assert "TLS needs trustme, which is not installed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_certificate_is_made_once_for_a_host():
    """All servers of a process have the same one, so that starting a server stays cheap."""
    first = launch.certificate.for_host("127.0.0.1")
    before = first.chain.read_bytes()
    assert launch.certificate.for_host("127.0.0.1") == first
    assert first.chain.read_bytes() == before
    assert launch.certificate.for_host("127.0.0.9").chain.read_bytes() != before


def test_a_server_that_makes_handshakes_one_after_the_other_is_found(tmp_path):
    """A client that connects and says nothing would keep all others waiting."""
    source = (FOLDER / "threads_tls.py").read_text(encoding="utf-8")
    accepts = "client, _ = listener.accept()\n"
    assert accepts in source
    shakes = f"{accepts}        client = context.wrap_socket(client, server_side=True)\n"
    file = tmp_path / "one_by_one.py"
    file.write_text(
        source.replace(accepts, shakes).replace(
            "with context.wrap_socket(client, server_side=True) as stream:",
            "with client as stream:",
        )
    )
    found = check.check(catalog.read(file), ["one-byte", "no-data"], workdir=tmp_path).results
    verdicts = {each.case: each.verdict for each in found}
    assert verdicts == {"start": "ok", "one-byte": "ok", "no-data": "failed"}
