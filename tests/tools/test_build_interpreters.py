"""Guards the tool that builds a pair of interpreters, without building one."""

import importlib.util
import subprocess
import sys

import pytest

from c10k import paths

TOOL = paths.SUITE / "tools" / "build_interpreters.py"
pytestmark = pytest.mark.once


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("build_interpreters", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packaged", "released"),
    [
        ("3.14.10-1", "3.14.10"),
        ("3.13.5-2+deb13u5", "3.13.5"),
        ("3.15.0~rc1-1", "3.15.0rc1"),
        ("3.13.5+dfsg-1", "3.13.5"),
    ],
)
def test_a_packages_version_is_that_of_cpython(tool, packaged, released):
    assert str(tool.upstream(packaged)) == released


def test_the_newest_is_asked_for_first(tool, monkeypatch, tmp_path):
    """Of all that Debian lists and that can be built without the lock."""
    listed = {"python3.11": ["3.11.2-6"], "python3.13": ["3.13.5-2", "3.13.15-1"]}
    listed["python3.15"] = ["3.15.0~rc1-1"]
    monkeypatch.setattr(tool, "mirror", lambda: "http://mirror")
    monkeypatch.setattr(tool, "apt", lambda *words, **options: "")
    monkeypatch.setattr(tool, "names_of_packages", lambda scratch: list(listed))
    monkeypatch.setattr(tool, "versions_of", lambda scratch, name: listed.get(name, []))
    found = tool.newest_first(tmp_path / "a", None)
    assert [version for _, version in found] == ["3.15.0~rc1-1", "3.13.15-1", "3.13.5-2"]
    with pytest.raises(tool.CannotBuild, match="no source of Python 3\\.12"):
        tool.newest_first(tmp_path / "b", "3.12")


def test_without_apt_it_names_the_other_way(tool, monkeypatch):
    monkeypatch.setattr(tool.shutil, "which", lambda program: None)
    with pytest.raises(tool.CannotBuild, match=r"uv python install 3\.14 3\.14t"):
        tool.check_tools()


@pytest.mark.parametrize("words", [["3"], ["3.14t"], ["--jobs", "0"], ["3.14", "3.15"]])
def test_a_wrong_call_gets_one_line(words):
    done = subprocess.run(
        [sys.executable, TOOL, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr.splitlines()[-1]
