"""Guards what is promised when others mislead: servers that answer wrongly, clocks, networks."""

import ctypes
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from c10k import paths

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]

SERVER = """\
# /// script
# [tool.c10k]
# title = "t"
# model = "m"
# unit = "u"
# tier = "variant"
# ///
import socket, threading, time
others = []
def echo(client):
    others.append(client)
    count = 0
    while data := client.recv(65536):
        count += 1
        if count < 20:
            client.sendall(data)
            continue
        {does}
    client.close()
listener = socket.socket(fileno=0)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
"""


@pytest.mark.parametrize(
    ("fault", "does", "says"),
    [
        ("answers late, after the drain", "time.sleep(60)", "echoes lost"),
        ("answers twice", "client.sendall(data + data)", "echoes doubled"),
        ("answers short", "client.sendall(data[:-1])", "echoes "),
        (
            "answers with another client's bytes",
            "others[-1 if others[-1] is not client else -2].sendall(data)",
            "misdirected",
        ),
        ("answers with other bytes", "client.sendall(bytes(len(data)))", "echoes "),
        ("closes in the middle", "client.close(); return", "closed"),
    ],
)
def test_a_server_that_answers_wrongly(begin, kept, tmp_path, held, fault, does, says):
    """Its trial fails with the fault counted by name, and gives no figure to rank."""
    path = tmp_path / "wrong_sockets.py"
    path.write_text(SERVER.format(does=does))
    run = begin(servers=(str(path), "asyncio_streams"), blocks=1, clients=3)
    assert run.end() == 0
    found = {m.trial.server: m for m in kept()}
    assert found["asyncio_streams"].status == "ok"
    wrong = found["wrong_sockets"]
    assert wrong.status == "failed"
    assert says in wrong.reason
    held(
        f"a server that {fault}",
        "its trial fails, the fault counted and named; the others are measured",
        f"exit 0, 2 of 2 trials kept, 1 failed: {wrong.reason}",
    )


def test_a_listener_that_never_answers(begin, kept, tmp_path, held):
    """The kernel accepts for it; that nobody answers is found before the load."""
    path = tmp_path / "silent_sockets.py"
    path.write_text(SERVER.partition("import")[0] + "import time\ntime.sleep(600)\n")
    run = begin(servers=(str(path), "asyncio_streams"), blocks=1)
    assert run.end() == 0
    found = {m.trial.server: (m.status, m.reason) for m in kept()}
    assert found["asyncio_streams"][0] == "ok"
    assert found["silent_sockets"] == ("failed", "no echo after it was started")
    held(
        "a listener that accepts and never answers",
        "its trial fails before any load; the others are measured",
        f"exit 0, 2 of 2 trials kept, 1 failed: {found['silent_sockets'][1]}",
    )


# Whatever asks for the time of day is told another hour each time; the monotonic clock is right.
STEPPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>
static long step(void) { static int n; return (n++ % 2 ? 1 : -1) * 3600L * (1 + n % 5); }
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += step();
    return code;
}
time_t time(time_t *to) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (to) *to = t.tv_sec;
    return t.tv_sec;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_clock_is_stepped(begin, kept, tmp_path, held):
    """Back and forth by hours at every reading: durations come from the monotonic clock only."""
    (tmp_path / "stepping.c").write_text(STEPPING)
    library = tmp_path / "stepping.so"
    source = str(tmp_path / "stepping.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    seen = subprocess.run(
        [sys.executable, "-c", "import time; print(abs(time.time() - time.time()) > 1000)"],
        env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert seen.stdout == "True\n"
    run = begin(blocks=2, options={"env": {**os.environ, "LD_PRELOAD": str(library)}})
    assert run.end() == 0
    for m in kept():
        assert (m.status, m.reason) == ("ok", "")
        assert 0.35 < m.duration_s < 5
        assert 0 <= m.connect_s < 5
        assert m.latency.max_us < 5e6
    held(
        "the clock stepped by hours, back and forth, at every reading",
        "durations come from the monotonic clock alone",
        "exit 0, 2 of 2 trials kept, every duration and latency as without",
    )


@pytest.fixture
def netem():
    """netem("delay", "20ms") → how to start a process whose loopback is such a network."""
    if os.geteuid() != 0 or shutil.which("tc") is None or shutil.which("ip") is None:
        pytest.skip("needs root, ip and tc; the shim stands for it")
    name = f"c10k-{uuid.uuid4().hex[:8]}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not permitted here; the shim stands for them")
    inside = ["ip", "netns", "exec", name]
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)

    def shape(*words):
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        command = [*inside, "tc", "qdisc", "add", "dev", "lo", "root", "netem", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this kernel has no netem ({done.stderr.strip()}); the shim stands for it")
        enter = ctypes.CDLL(None).setns
        return {"preexec_fn": lambda: enter(descriptor, 0x40000000), "pass_fds": (descriptor,)}

    yield shape
    os.close(descriptor)
    subprocess.run(["ip", "netns", "delete", name], check=True)


NETWORKS = {  # netem's words, the shim's, what the load is, what must show
    "20 ms of delay each way": (
        ("delay", "20ms"),
        ("20", "0", "0"),
        {"clients": 30, "duration": 1.0},
        lambda m: 39_000 < m.latency.p50_us < 80_000,
    ),
    "2 % of the packets lost": (
        ("loss", "2%", "delay", "1ms"),
        ("1", "2", "0"),
        {"duration": 2.0, "drain": 5},
        lambda m: m.latency.max_us > 150_000,  # TCP sends again after 200 ms at the least
    ),
    "1 Mbit/s": (
        ("rate", "1mbit"),
        ("0", "0", "1000"),
        {"clients": 30, "duration": 3.0, "drain": 5, "more": "message_bytes = 1000"},
        lambda m: m.messages_per_s * m.trial.load.message_bytes * 8 < 1.3e6,
    ),
}


@pytest.mark.parametrize("how", ["netem", "shim"])
@pytest.mark.parametrize("fault", NETWORKS)
def test_a_bad_network(begin, kept, held, request, fault, how):
    """It shows in the figures; nothing is lost, as TCP sends again."""
    kernel, user_space, load, shows = NETWORKS[fault]
    if how == "netem":
        run = begin(blocks=1, options=request.getfixturevalue("netem")(*kernel), **load)
    else:
        shim, server = Path(__file__).parent / "shim.py", paths.SERVERS / "asyncio_streams.py"
        python = sys.executable
        command = f"shim={python} {shim} {' '.join(user_space)} -- {python} {server}"
        run = begin("--servers", command, blocks=1, **load)
    assert run.end() == 0
    (m,) = kept()
    assert (m.status, m.lost, m.altered) == ("ok", 0, 0), m.reason
    assert shows(m), (m.latency.p50_us, m.latency.max_us, m.messages_per_s)
    held(
        f"a network with {fault} ({how})",
        "it shows in the figures, and no echo is lost",
        f"exit 0, 1 of 1 trials kept: p50 {m.latency.p50_us / 1000:.0f} ms, "
        f"max {m.latency.max_us / 1000:.0f} ms, {m.messages_per_s:.0f} messages/s, 0 lost",
    )


def test_last_words_are_data(begin, kept, tmp_path, held):
    """What a dying server says reaches the row as text: no control characters, no page of it."""
    path = tmp_path / "shouting_sockets.py"
    text = SERVER.format(does="pass").replace("import socket", "import sys\nimport socket", 1)
    shout = "sys.exit('\\x1b[31m<script>alert(1)</script>\\x07' + 'x' * 1000)"
    path.write_text(text.replace("listener =", f"{shout}\nlistener ="))
    run = begin(servers=(str(path),), blocks=1)
    assert run.end() == 0
    (reason,) = [m.reason for m in kept()]
    assert "<script>" in reason
    assert reason.isprintable()
    assert len(reason) < 300
    assert "\x1b" not in run.said
    held(
        "a server that dies with control characters and a thousand letters",
        "its row gives its last words, printable and short",
        "exit 0, 1 of 1 trials kept, 1 failed",
    )
