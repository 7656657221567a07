"""What several test files share: real servers, and the client as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from hypothesis import settings

from c10k import launch, paths
from c10k.declare import catalog
from c10k.launch import inner_loops

# A busy machine may make everything later, never earlier: outside of tests marked `alone`, no
# upper limit of a time is asserted but for hangs, not even by hypothesis.
settings.register_profile("c10k", deadline=None)
settings.load_profile("c10k")


@pytest.fixture(scope="session", autouse=True)
def interrupts():
    """Interrupts arrive, also where the tests run in a shell's background, which ignores them."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def descriptors():
    """Tests may hold as many connections as the machine allows."""
    launch.raise_descriptor_limit()


@pytest.fixture
def serving(tmp_path):
    """serving(name or path) → a running server, stopped when the test ends."""
    running = []

    def start(which, **options):
        folder = paths.SERVERS if isinstance(which, str) else None
        server = catalog.read(folder / f"{which}.py" if folder else which)
        running.append(launch.start(server, tmp_path / f"{server.name}.log", **options))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def short_kit(monkeypatch):
    """The longer cases of the kit with less of everything, and no judgement of speed."""
    shorter = {
        "LONG_IDLE_S": 0.6,
        "HARM_S": 60.0,
        "LORIS_S": 0.2,
        "CHURNED": 1000,
        "QUEUE": 100,
        "WATCHED_S": 0.5,
        "RECOVER_S": 20.0,
    }
    for name, value in shorter.items():
        monkeypatch.setattr(f"c10k.check.long.{name}", value)


def client_with(library, preloaded=""):
    """run(**plan) → the events that one worker writes, its exit code checked."""
    # Python itself keeps what it has allocated until it ends
    told = {"LD_PRELOAD": preloaded, "ASAN_OPTIONS": "detect_leaks=0"} if preloaded else {}

    def run(expected_code=0, **plan):
        plan = {"library": library, **plan}
        done = subprocess.run(
            [sys.executable, str(paths.CLIENT), "--plan", "-"],
            input=json.dumps(plan) + "\n",
            env=os.environ | told,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expected_code, done.stderr
        assert "Traceback" not in done.stderr
        if expected_code:
            return done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def asyncio_client():
    """The client on asyncio, where the loops in C do not matter."""
    return client_with("")


@pytest.fixture(params=["asyncio", "C"])
def client(request):
    """client(plan) → the events that one worker writes, its exit code checked.

    Each test runs with either of the client's inner loops; tools/sanitize.py gives others.
    """
    if request.param == "asyncio":
        return client_with("")
    library = os.environ.get("C10K_TEST_LIBRARY") or inner_loops()
    return client_with(library, os.environ.get("C10K_TEST_PRELOAD", ""))


class Fake:
    """A server that treats each connection's bytes as `reply(connection, data, number)` says."""

    def __init__(self, reply):
        self.reply = reply
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        number = 0
        try:
            while data := connection.recv(65536):
                self.reply(connection, data, number)
                number += 1
        except OSError:
            pass
        finally:
            connection.close()


@pytest.fixture
def fake():
    """fake(reply) → the port of a server with that behaviour."""
    made = []

    def make(reply):
        made.append(Fake(reply))
        return made[-1].port

    yield make
    for each in made:
        each.listener.close()
