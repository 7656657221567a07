"""Drives the command line with words in any order; whatever would start a process is faked."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import made
import msgspec
import pytest
from folders import CLAIMS, HEADS, TRIALS, as_folder
from hypothesis import strategies as st
from nonsense import TEXT, fuzzed

from c10k import claims, cli, launch, machine
from c10k.declare import catalog
from c10k.launch import interpreter, keeper, runtime
from c10k.model import Conformance, Outcome, Runtime
from c10k.render import html
from c10k.run import cluster, session

pytestmark = pytest.mark.once

# What fits an option, or a command's first words; anything else is tried in its place, too.
SERVERS = ("trio_streams", "asyncio_streams", "@canonical", "./mine.py", "./mine.toml", "x=true",
           "trio_streams@trio==0.24", "trio_streams@python3.13", "mine.py", "x=nowhere", "x='",
           "@", "@nobody", "alpha", "beta", "a,b")  # fmt: skip
FOLDERS = ("finished", "begun", "outcomes", "none", ".", "new")
COUNTS = ("1", "100", "10k", "1,2", "0", "-1", "1000000000000", "9" * 30, "0.5k", "1_", "1e3")
SHARES = ("3%", "0%", "0.5", "101%", "nan", "messages_per_s:5%", "p99:1%", ":", "1e9")
FIT = {
    "run": ("quick", "w.toml", "./w.toml", "nowhere.toml"),
    "check": SERVERS,
    "serve": SERVERS,
    "show": FOLDERS,
    "compare": ("finished", "begun", "alpha", "beta", "none", "--"),
    "race": SERVERS,
    "explain": SERVERS,
    "report": FOLDERS,
    "export": FOLDERS,
    "new": ("made", "made.py", "1", "a b"),
    "claims": ("threads_race", "mine.py", "blocking"),
    "--servers": SERVERS,
    "--clients": COUNTS,
    "--blocks": COUNTS,
    "--processes": COUNTS,
    "--server-cores": (*COUNTS, "all", "none"),
    "--seed": COUNTS,
    "--max-blocks": COUNTS,
    "--sharing": ("one-socket", "reuseport"),
    "--out": ("new", "new2", "finished", "mine.py"),
    "--resume": FOLDERS,
    "--show": FOLDERS,
    "--claims": FOLDERS,
    "--ladder": FOLDERS,
    "--memory": SHARES,
    "--precision": SHARES,
    "--fail-on": SHARES,
    "--against": FOLDERS,
    "--between": FOLDERS,
    "--time": ("20m", "90s", "1h", "0s", "999999999h", "soon"),
    "--seconds": ("0.1", "2", "0", "nan", "1e9", "soon"),
    "--python": ("3.13", "python3.14t", "true", "nowhere"),
    "--framework": ("asyncio", "trio", "threads"),
    "--model": ("greenlets", "callbacks"),
    "--cases": ("start", "echo", "none", "list"),
    "--bind": ("127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "nonsense", ":", "unix:", "::1", "1:99999"),
    "--scheduler": ("tcp://127.0.0.1:1",),
    "--junit": ("junit.xml", "finished", "none"),
    "--sort": ("p99", "server", "CPU"),
    "--columns": ("p50", "errors", "load"),
    "--group": ("load", "server"),
    "--format": ("terminal", "markdown", "json", "csv", "jsonl", "pytest-benchmark", "hdr"),
}
OPTIONS = {
    command: [
        name
        for argument in cli.app[command].assemble_argument_collection(
            default_parameter=cli.app.default_parameter
        )
        for name in argument.names
        if name.startswith("--")
    ]
    for command in cli.app
    if not command.startswith("-")
}
EVERY = sorted({word for fitting in (*FIT.values(), *OPTIONS.values()) for word in fitting})
# No slash: a word that leads elsewhere would be written to. No NUL: no command line holds one.
TEXTS = TEXT.filter(lambda text: not set("\0/~") & set(text) and text not in ("..", "."))
ANYTHING = TEXTS | st.sampled_from((*EVERY, *OPTIONS, "--help", "--version", "--", "-", "--no-"))


def fitting(key):
    """Mostly what fits."""
    if key not in FIT:
        return ANYTHING
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(FIT[key]) if n else ANYTHING)


@st.composite
def calls(draw):
    """A command with words and options that it has, and sometimes others."""
    command = draw(st.sampled_from(sorted(OPTIONS)))
    words = [command]
    if command in FIT and draw(st.integers(0, 9)):
        words += draw(
            st.lists(
                fitting(command),
                min_size=1,
                max_size={"compare": 5, "race": 3, "explain": 2}.get(command, 1),
            )
        )
    for option in draw(st.lists(st.sampled_from(OPTIONS[command]), max_size=3, unique=True)):
        words.append(option)
        if option in FIT:
            words += draw(st.lists(fitting(option), min_size=1, max_size=1))
    if not draw(st.integers(0, 9)):
        words.insert(draw(st.integers(0, len(words))), draw(ANYTHING))
    return words


CALLS = st.integers(0, 9).flatmap(lambda n: calls() if n else st.lists(ANYTHING, max_size=4))


@pytest.fixture(autouse=True, scope="module")
def nothing_starts(somewhere):
    """No process, no wait, no look at the machine: what is left is the command line's own."""
    as_folder(Path("finished"), 0, len(TRIALS[0]))
    as_folder(Path("begun"), 0, 2)
    Path("outcomes").mkdir()
    Path("outcomes", claims.FILE).write_bytes(
        b"".join(msgspec.json.encode(each) + b"\n" for each in CLAIMS)
    )
    Path("w.toml").write_text(
        'title="t"\nservers=["trio_streams"]\n[[load]]\nkind="closed"\nclients=[1,100]\n'
    )
    table = '[tool.c10k]\ntitle="t"\nmodel="m"\nunit="u"\ntier="variant"\n'
    Path("mine.toml").write_text(table + 'start=["true", "{here}", "{x}"]\n')
    lines = "".join(f"# {line}\n" for line in table.splitlines())
    Path("mine.py").write_text(f"# /// script\n{lines}# ///\n")
    known = catalog.known()
    conformance = Conformance("x", "2026-01-01", "0", ())

    def never(*words, **_):
        raise AssertionError(f"started: {words}")

    def start(server, log, *, bind="127.0.0.1:0", **_):
        launch.listen(bind).close()
        raise launch.NotServing("none is started here")

    def run(plan, execute, writer, **_):
        for trial in plan.trials[:2]:
            writer.append(made.ok(trial))

    def wait(_):
        raise KeyboardInterrupt

    def connect(scheduler):
        raise cluster.ClusterError(f"--scheduler {scheduler}: none is asked here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", never)
        patch.setattr(time, "sleep", wait)
        patch.setattr("c10k.cli.results.sleep", wait)
        patch.setattr(os, "execv", never)
        patch.setattr(catalog, "known", lambda: known)
        patch.setattr("c10k.check.check", lambda *_, **__: conformance)
        patch.setattr("c10k.check.remembered", lambda *_: conformance)
        patch.setattr("c10k.claims.experiment.read", lambda path: SimpleNamespace(path=path))
        patch.setattr("c10k.claims.run", lambda name, *_: msgspec.convert(CLAIMS[1], Outcome))
        patch.setattr("c10k.run.cluster.connect", connect)
        patch.setattr(html, "render", lambda *_: "")
        patch.setattr(keeper, "keeper", lambda: SimpleNamespace(folder="."))
        patch.setattr("c10k.launch.start", start)
        patch.setattr("c10k.machine.environment", lambda *_: HEADS[0]["environment"])
        patch.setattr("c10k.machine.doctor", lambda: machine.findings(machine.Facts()))
        here = interpreter.here()
        patch.setattr(interpreter, "find", {"default": here, "3.13": here}.get)
        patch.setattr(runtime, "prepare", lambda server: Runtime(sys.executable, "3.11"))
        patch.setattr(session, "run", run)
        yield


def called(words):
    """(exit code, output, errors) of a call in this process, through real text streams."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    errors.reconfigure(errors="backslashreplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["c10k", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        with pytest.raises(SystemExit) as left:
            cli.main()
    for stream in (out, errors):
        stream.flush()
    return left.value.code, *(each.buffer.getvalue().decode() for each in (out, errors))


@fuzzed("command lines", CALLS, quick=300, long=40_000)
def test_calls(words):
    """A call does what it says or is refused in one line; nothing it prints is obeyed."""
    code, printed, complained = called(words)
    assert code in (0, 1, 2) or ("--watch" in words and code == 130)
    if code == 2 and "--fail-on" not in words:  # which names each row that cannot be told
        lines = complained.splitlines()  # with --json, of the progress, too
        assert [at for at, line in enumerate(lines, 1) if line.startswith("c10k: ")] == [len(lines)]
    for text in (printed, complained):
        assert "\x1b" not in text
        assert "\x9b" not in text
        assert "\u202e" not in text
