"""Guards the kit's judgement: echo servers that others published, run unchanged, and their faults.

None of them is copied here. Each is taken from the source distribution that its authors put on
PyPI (published/requirements.txt, by hash), and adopts standard input through published/adopt.c.
What it prints and with which backlog it listens is its own, and is found as such: most were
written to be read, not to be raced.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from c10k import check, paths
from c10k.declare import catalog

pytestmark = [pytest.mark.once, pytest.mark.timeout(600)]
HERE = Path(__file__).parent / "published"
REQUIREMENTS = HERE / "requirements.txt"
FETCH_S = 300.0

# The cases of seconds, which any server can be asked for.
CASES = (
    "one-byte", "segments", "echo-64-kib", "echo-1-mib", "echo-8-mib", "tiny-writes", "dribble",
    "half-close", "half-close-unread", "no-data", "idle", "interleaved", "reset-before",
    "reset-during", "slow-reader", "backlog", "silence", "sigterm",
)  # fmt: skip

PRINTS = {"silence": "it wrote on standard output"}
UNBOUNDED = {"slow-reader": "its memory grew by"}
CUT_OFF = {  # it closes at end of stream, whatever it still owes
    "half-close": "1 more were owed",
    "half-close-unread": "more were owed",
    "interleaved": "more were owed",
}


def queue(backlog):
    """The fault of a server that listens again, with a backlog of its own."""
    return {"backlog": f"is now {backlog}:"}


class Published(NamedTuple):
    """One server: where it is, and case → words of the fault that the kit must find, no other."""

    sdist: str
    file: str
    faults: dict[str, str]
    options: tuple[str, ...] = ()
    needs: str = ""  # the distribution that it imports
    cases: tuple[str, ...] = CASES

    def __str__(self):
        return " ".join((self.sdist, Path(self.file).name, *self.options))


SERVERS = (
    # MIT; https://github.com/twisted/twisted/blob/trunk/docs/core/examples/echoserv.py
    Published(
        "twisted-26.10.0", "docs/core/examples/echoserv.py",
        CUT_OFF | UNBOUNDED | queue(50), needs="twisted",
    ),
    # MIT or Apache 2.0; https://trio.readthedocs.io/en/stable/tutorial.html. It prints what it
    # reads: after 64 MiB of that nobody takes more, and it ends. So only the small cases.
    Published(
        "trio-0.35.0", "docs/source/tutorial/echo-server.py", PRINTS, needs="trio",
        cases=("one-byte", "dribble", "half-close", "reset-before", "idle", "backlog", "silence"),
    ),
    # MIT; https://github.com/gevent/gevent/blob/master/examples/echoserver.py
    Published(
        "gevent-26.9.0", "examples/echoserver.py",
        {"start": "no first echo: it sent b'W' instead"}, needs="gevent",
    ),
    # MIT; https://github.com/eventlet/eventlet/blob/master/examples/echoserver.py. By lines.
    Published(
        "eventlet-0.41.3", "examples/echoserver.py",
        {"start": "no echo after it was started"}, needs="eventlet",
    ),
    # MIT or Apache 2.0; https://github.com/MagicStack/uvloop/blob/master/examples/bench/
    Published("uvloop-0.22.1", "examples/bench/echoserver.py", PRINTS | queue(5)),
    Published(
        "uvloop-0.22.1", "examples/bench/echoserver.py",
        PRINTS | queue(100) | UNBOUNDED, ("--streams",),
    ),
    Published(
        "uvloop-0.22.1", "examples/bench/echoserver.py",
        PRINTS | queue(100) | UNBOUNDED, ("--proto",),
    ),
    Published(
        "uvloop-0.22.1", "examples/bench/echoserver.py",
        PRINTS | queue(100) | UNBOUNDED, ("--uvloop", "--proto", "--buffered"), needs="uvloop",
    ),
    # BSD; https://github.com/dabeaz/curio/tree/master/examples/bench
    Published("curio-1.6", "examples/bench/asyncproto.py", queue(100) | UNBOUNDED),
    Published("curio-1.6", "examples/bench/threadecho.py", PRINTS | queue(5)),
    Published("curio-1.6", "examples/bench/gevecho.py", PRINTS | queue(128), needs="gevent"),
    Published(
        "curio-1.6", "examples/bench/trioecho.py", PRINTS | queue(128), needs="trio"
    ),
    Published(
        "curio-1.6", "examples/bench/nodeecho.js",
        {"reset-before": "exited with code 1", "reset-during": "exited with code 1"}
        | UNBOUNDED | queue(511),
    ),
)  # fmt: skip


@pytest.fixture(scope="session")
def sdists():
    """The folder of the source distributions, fetched once; skips, visibly, where it cannot be."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    folder = paths.cache() / "published" / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # several workers of pytest ask for it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if any(not (folder / f"{each.sdist}.tar.gz").exists() for each in SERVERS):
            words = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
            words += ["--requirement", REQUIREMENTS, "--dest", folder]
            fetched = subprocess.run(
                [sys.executable, *words], capture_output=True, text=True, timeout=FETCH_S
            )
            if fetched.returncode:
                pytest.skip(f"cannot fetch them: {fetched.stderr.strip().splitlines()[-1]}")
    return folder


def server_of(published, folder, archive):
    """The published file, written to folder, as a server whose command adopts standard input."""
    adopting = catalog.read(HERE / "adopt.toml")
    interpreter = ["node"] if published.file.endswith(".js") else [sys.executable, "-P"]
    for program in (adopting.build[0], interpreter[0]):
        if not shutil.which(program):
            pytest.skip(f"{program} is not on PATH")
    path = folder / Path(published.file).name
    with tarfile.open(archive) as files:
        path.write_bytes(files.extractfile(f"{published.sdist}/{published.file}").read())
    command = (*adopting.start, *interpreter, str(path), *published.options)
    return replace(adopting, start=command)


@pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD")
@pytest.mark.parametrize("published", SERVERS, ids=str)
def test_the_kit_names_the_faults_of_a_published_server(published, sdists, tmp_path):
    """Each fault by its case and in words that lead to it; what is fair passes."""
    if published.needs:
        try:
            metadata.version(published.needs)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{published.needs} is not installed")
    server = server_of(published, tmp_path, sdists / f"{published.sdist}.tar.gz")
    options = {"ready_s": 3.0} if "start" in published.faults else {}
    found = check.check(server, published.cases, workdir=tmp_path / "work", **options)
    failures = {each.case: each.detail for each in found.failures}
    assert failures.keys() == published.faults.keys(), failures
    for case, words in published.faults.items():
        assert words in failures[case]
