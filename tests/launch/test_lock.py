"""Guards what is read of a running interpreter's lock, against what that interpreter says."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from c10k.launch import interpreter, lock

SAYS = """
import sys
sys.stdout.write(str(getattr(sys, "_is_gil_enabled", lambda: True)()) + "\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@contextmanager
def running(python, code=SAYS, *options):
    """A waiting interpreter, and the line that it wrote."""
    process = subprocess.Popen(
        [python, *options, "-c", code], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.kill()


def found(request):
    """An interpreter of this machine; skips visibly without it."""
    on = interpreter.find(request)
    if on is None:
        pytest.skip(f"there is no Python {request} here: {interpreter.missing(request)}")
    return on.path


@pytest.mark.parametrize("request_", ["3.13", "3.14", "3.13t", "3.14t"])
def test_the_lock_is_what_the_interpreter_says(request_):
    with running(found(request_)) as (pid, said):
        assert str(lock.lock_is_on(pid)) == said


@pytest.mark.parametrize("request_", ["3.13t", "3.14t"])
def test_a_lock_that_comes_on_while_it_runs_is_seen(request_):
    """An extension that does not declare itself safe switches it on, and so does the option."""
    python = found(request_)
    with running(python, SAYS, "-X", "gil=1") as (pid, said):
        assert (lock.lock_is_on(pid), said) == (True, "True")


def test_a_program_that_is_no_python_has_no_lock():
    with running("/bin/sh", "echo here; read wait") as (pid, _):
        assert lock.lock_is_on(pid) is None
    assert lock.lock_is_on(pid) is None  # it is gone


def test_one_process_with_its_lock_on_decides(monkeypatch):
    states = {1: False, 2: None, 3: True}
    monkeypatch.setattr(lock, "lock_is_on", states.get)
    assert lock.any_is_on([1, 2]) is False
    assert lock.any_is_on([1, 2, 3]) is True
    assert lock.any_is_on([2]) is None


def test_an_old_interpreter_does_not_tell():
    if sys.version_info >= (3, 13):
        pytest.skip("this interpreter tells")
    with running(sys.executable) as (pid, _):
        assert lock.lock_is_on(pid) is None
