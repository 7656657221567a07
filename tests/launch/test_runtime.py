"""Guards what a server runs on: environments of their own, found interpreters, plain reasons."""

import base64
import hashlib
import os
import platform
import subprocess
import sys
import zipfile

import pytest
from command import c10k
from msgspec.structs import replace

from c10k import paths
from c10k.declare import catalog, choosing
from c10k.launch import interpreter, runtime
from c10k.run import store
from c10k.text import on_interpreter

HERE = "{}.{}.{}".format(*sys.version_info[:3])
SERVER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["planted>=1"]
# [tool.c10k]
# framework = "planted"
# title = "mine"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# notes = [{ python = ">=3", text = "a remark" }]
# ///
import planted
"""


def wheel(folder, version, requires=""):
    """A distribution that holds nothing but its version, as an index would give it."""
    name, about = f"planted-{version}", f"planted-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        "planted.py": f"VERSION = {version!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: planted\nVersion: {version}\n{needs}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{path},sha256={digest.rstrip(b'=').decode()},{len(text)}\n"
        archive.writestr(f"{about}/RECORD", record + f"{about}/RECORD,,\n")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Two versions of a distribution, in a folder that stands for the index, and a cache."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    nothing = tmp_path / "index"
    nothing.mkdir()
    wheel(wheels, "1.0")
    wheel(wheels, "2.0")
    wheel(wheels, "3.0", requires="nowhere-to-be-found")
    settings = {
        "UV_DEFAULT_INDEX": nothing.as_uri(),  # else what is missing is asked for elsewhere
        "UV_FIND_LINKS": str(wheels),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def server(tmp_path):
    """The path of a server that needs the distribution."""
    echo = (paths.SERVERS / "threads_sockets.py").read_text().partition('"""\n\n')[2]
    path = tmp_path / "mine_sockets.py"
    path.write_text(SERVER + echo)
    return path


@pytest.fixture
def short(tmp_path):
    """The path of a workload of a second."""
    path = tmp_path / "short.toml"
    path.write_text(
        'title = "t"\nservers = ["x"]\nblocks = 1\ncontrol = false\nrepeats = 0\n'
        '[[load]]\nkind = "closed"\nclients = [2]\nwarmup_s = 0.1\nduration_s = 0.2\n'
    )
    return path


def one(word):
    (found,) = choosing.choose([str(word)], ())
    return found


def test_an_isolated_server_has_its_versions(index, server):
    """What its file asks for is installed for it alone, once, and recorded."""
    for version in ("1.0", "2.0"):
        seen = runtime.prepare(one(f"{server}@planted=={version}"))
        assert seen.versions == {"planted": version}
        assert (seen.python, seen.gil, seen.notes) == (HERE, True, ("a remark",))
        assert runtime.prepare(one(f"{server}@planted=={version}")) == seen
    made = paths.cache() / "environments"
    assert len(list(made.iterdir())) == 2
    with pytest.raises(runtime.CannotRun, match="planted is not installed"):
        runtime.prepare(one(server))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("planted==9", "there is no version of planted==9"),
        ("planted==3.0", "nowhere-to-be-found"),
        ("python3.99", "no interpreter python3.99"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(index, server, override, words):
    """The resolver's reason, without its ornaments."""
    with pytest.raises(runtime.CannotRun) as caught:
        runtime.prepare(one(f"{server}@{override}"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_environment_is_made_for_another_c_library(index, server, monkeypatch):
    """The resolver would try to build what has no package here; the library is named instead."""
    server.write_text(server.read_text().replace("# notes", '# glibc = ">=2.39"\n# notes'))
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    with pytest.raises(runtime.CannotRun, match=r"^needs glibc >=2\.39; this is 2\.36$"):
        runtime.prepare(one(f"{server}@planted==1.0"))
    assert not (paths.cache() / "environments").exists()


def test_an_interpreter_is_the_one_asked_for(index, server):
    """A path, a preference and requires-python, in this order; a contradiction is named."""
    plain = replace(one(server), isolated=True)
    assert runtime.prepare(replace(plain, python=sys.executable)).python == HERE
    assert runtime.prepare(replace(plain, prefers="3.99")).python == HERE
    with pytest.raises(runtime.CannotRun, match="needs Python <3;"):
        runtime.prepare(replace(plain, python=sys.executable, requires_python="<3"))
    with pytest.raises(runtime.CannotRun, match="none is on this machine"):
        runtime.prepare(replace(plain, requires_python=">=4"))


def test_without_uv_it_says_what_to_install(server, monkeypatch, tmp_path):
    """Isolation is an extra."""
    monkeypatch.setattr(interpreter, "search_path", lambda: str(tmp_path))
    with pytest.raises(runtime.CannotRun, match="pip install uv"):
        runtime.prepare(replace(one(server), isolated=True))


def test_the_lock_is_looked_at_after_the_imports(tmp_path, server):
    """An import can turn the lock on again: the server's own imports are made before looking."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "planted.py").write_text("import sys\nsys._is_gil_enabled = lambda: False\n")
    found = tmp_path / "python"
    found.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "${{@}}"\n')
    found.chmod(0o755)
    assert runtime.look(one(server), str(found)).gil is False
    assert runtime.look(one(paths.SERVERS / "threads_sockets.py"), str(found)).gil is True


def test_two_versions_race_in_one_session(index, server, short, tmp_path):
    """Each row names its version; one that cannot be had has a row with the reason."""
    words = [f"{server}@planted=={version}" for version in ("1.0", "2.0", "9")]
    done = c10k("run", short, "--out", tmp_path / "s", "--servers", *words)
    seen = {m.trial.server: m for m in store.load(tmp_path / "s").measurements}
    ran = {name: (m.status, m.versions) for name, m in seen.items()}
    assert ran == {
        "mine_sockets@planted==1.0": ("ok", {"planted": "1.0"}),
        "mine_sockets@planted==2.0": ("ok", {"planted": "2.0"}),
        "mine_sockets@planted==9": ("not run", {}),
    }
    assert "there is no version of planted==9" in seen["mine_sockets@planted==9"].reason
    for version in ("1.0", "2.0"):
        on = on_interpreter(HERE, interpreter.own_build(), None)
        assert f"{on}, planted {version}" in " ".join(done.stdout.split())


def test_a_plug_in_is_installed_and_raced(short, tmp_path):
    """The example package brings a contender with a name like any other's, never imported."""
    site = tmp_path / "site"
    subprocess.run(
        [
            "uv", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps",
            "--python", sys.executable, "--target", site, paths.SUITE / "tests" / "plug_in",
        ],
        check=True,
        env={**os.environ, "PATH": interpreter.search_path()},
    )  # fmt: skip
    environment = {"PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    assert "plugged_sockets" in c10k("list", environment=environment).stdout
    names = ("plugged_sockets", "threads_sockets")
    c10k("run", short, "--out", tmp_path / "s", "--servers", *names, environment=environment)
    seen = {m.trial.server: m for m in store.load(tmp_path / "s").measurements}
    assert {name: m.status for name, m in seen.items()} == dict.fromkeys(names, "ok")
    assert seen["plugged_sockets"].versions == {"echo-plug-in": "1.0"}


def test_a_broken_plug_in_is_told_and_harms_no_other(tmp_path, monkeypatch):
    """No file, no package, a name that is taken, a name that is a path: each in one line."""
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = {
        "missing": "hypothesis.no_such_file",
        "nowhere": "no_such_package.server",
        "no_server": "hypothesis",
        "threads_sockets": "hypothesis",
        "../escape": "hypothesis",
    }
    (about / "entry_points.txt").write_text(
        "[c10k.servers]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
    )
    monkeypatch.syspath_prepend(tmp_path)
    known = catalog.known()
    assert {server.name for server in known.servers} == {
        server.name for folder in catalog.FOLDERS for server in catalog.find(folder)
    }
    assert len(known.faults) == len(points)
    assert all(fault.startswith("plug-in broken: ") for fault in known.faults)
