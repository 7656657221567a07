"""Guards the session folder: what was measured is never lost, what is foreign is refused."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import made
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k.judge import judge
from c10k.run import store
from c10k.run.store import StoreError


@pytest.fixture
def folder(tmp_path):
    """A folder with a finished session."""
    return made.kept(tmp_path / "s", made.session())


def test_what_was_written_is_read(folder):
    """A session survives the folder unchanged, nested types and all."""
    assert store.load(folder) == made.session()


def test_a_line_is_on_disk_when_append_returns(tmp_path):
    """Each trial can be read by another process at once, before anything is closed."""
    session = made.session()
    writer = store.create(tmp_path / "s", session)
    for count, measurement in enumerate(session.measurements, 1):
        writer.append(measurement)
        assert len(store.load(tmp_path / "s").measurements) == count


def test_a_session_is_not_overwritten(folder):
    """A folder that holds a session is refused, and keeps it."""
    with pytest.raises(StoreError, match="holds a session already"):
        store.create(folder, made.session())
    assert store.load(folder) == made.session()


def test_a_torn_last_line_does_not_count_and_is_kept_aside(folder):
    """What a crash left half-written is recognised; resuming goes on after the whole lines."""
    trials = folder / "trials.jsonl"
    whole = trials.read_bytes()
    trials.write_bytes(whole[:-20])
    assert len(store.load(folder).measurements) == 7
    session, writer = store.resume(folder)
    assert len(session.measurements) == 7
    writer.append(made.session().measurements[7])
    writer.close()
    assert trials.read_bytes() == whole
    assert (folder / "trials.torn").read_bytes() == whole.splitlines()[-1][: -20 + 1] + b"\n"


def test_every_torn_line_is_kept_aside(folder):
    """A second crash does not overwrite what the first one left."""
    trials = folder / "trials.jsonl"
    for _ in range(2):
        trials.write_bytes(trials.read_bytes()[:-20])
        store.resume(folder)[1].close()
    assert len((folder / "trials.torn").read_bytes().splitlines()) == 2
    assert len(store.load(folder).measurements) == 6


def test_a_folder_has_one_writer(folder):
    """A second run in one folder is refused while the first lives, and not after it."""
    _, writer = store.resume(folder)
    with pytest.raises(StoreError, match="another run is writing it"):
        store.resume(folder)
    writer.close()
    store.resume(folder)[1].close()


def test_a_lock_dies_with_its_owner(folder):
    """A run that was killed leaves no lock behind."""
    pid = os.fork()
    if pid == 0:
        try:
            store.resume(folder)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)  # a copy of the test run must not go on
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL  # so it had the lock
    store.resume(folder)[1].close()


def test_two_that_begin_in_one_folder_at_once_are_one(tmp_path):
    """Of two sessions that are made in one folder, one is refused, whole."""
    first = store.create(tmp_path / "s", made.session())
    with pytest.raises(StoreError, match="holds a session already"):
        store.create(tmp_path / "s", made.session(seed=2))
    first.close()
    assert store.load(tmp_path / "s").plan.seed == 1


def test_a_finished_session_stays_as_it_is(folder):
    """Nothing is added to it; that it was changed all the same is seen, and said."""
    _, writer = store.resume(folder)
    writer.finish("2026-01-02T04:00:00+00:00")
    writer.close()
    session = store.load(folder)
    assert (session.finished_at, session.altered) == ("2026-01-02T04:00:00+00:00", False)
    for wanted in (store.resume, lambda folder: store.create(folder, made.session())):
        with pytest.raises(StoreError, match="is finished"):
            wanted(folder)
    trials = folder / "trials.jsonl"
    assert not trials.stat().st_mode & 0o222
    lines = trials.read_bytes().splitlines(keepends=True)
    trials.chmod(0o644)
    trials.write_bytes(b"".join(lines[:-1]))
    assert store.load(folder).altered
    assert any("altered" in line for line in judge(store.load(folder)).warnings)


def test_what_cannot_be_read_is_not_called_altered(folder, monkeypatch):
    """Its digest is unknown then: that is said, and nobody is accused. It is read once."""
    _, writer = store.resume(folder)
    writer.finish("2026-01-02T04:00:00+00:00")
    writer.close()

    left = 1

    def few_left(path):
        nonlocal left
        if path.name == "trials.jsonl":
            left -= 1
            if left < 0:
                raise OSError(24, "Too many open files")
        return read(path)

    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", few_left)
    assert not store.load(folder).altered
    with pytest.raises(StoreError, match=r"trials.jsonl: cannot be read: too many open files"):
        store.load(folder)


def test_what_had_changed_is_kept_with_the_session(folder):
    """A session that was resumed all the same is marked, also after the next resume."""
    for change in ("cpu.model: A → B", "python.version: 1 → 2"):
        store.resume(folder, [change])[1].close()
    session = store.load(folder)
    assert session.mixed == ("cpu.model: A → B", "python.version: 1 → 2")
    assert session.measurements == made.session().measurements
    assert any(line.startswith("mixed: ") for line in judge(session).warnings)


def test_a_session_from_git_can_be_resumed(folder):
    """git keeps no empty folder: resuming makes the one for the logs again."""
    (folder / "logs").rmdir()
    _, writer = store.resume(folder)
    writer.close()
    assert writer.logs.is_dir()


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("session.json", None, "no session here"),
        ("session.json", b"{", "not JSON"),
        ("session.json", b"\xff\xfe", "not JSON"),
        ("session.json", b"[]", "schema None"),
        ("session.json", b'{"schema": 99}', "schema 99"),
        ("session.json", b'{"schema": 1}', "missing required field"),
        ("trials.jsonl", b"nonsense\n", "trials.jsonl:1"),
        ("trials.jsonl", b'{"trial": 3}\n', "trials.jsonl:1"),
    ],
)
def test_a_foreign_or_broken_folder_is_one_line(folder, file, content, says):
    """What cannot be read is named with its file and, where there is one, its line."""
    path = folder / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        store.load(folder)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    """A file where the folder should be: named, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        store.create(tmp_path / "file" / "s", made.session())


@given(st.binary())
def test_no_head_crashes(tmp_path_factory, content):
    """Any bytes as session.json are refused in one line."""
    folder = tmp_path_factory.mktemp("s")
    (folder / "session.json").write_bytes(content)
    with pytest.raises(StoreError):
        store.load(folder)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.data(),
)
def test_no_json_in_place_of_a_value_crashes(tmp_path_factory, value, data):
    """A head of the right form with something absurd in one place is read or refused."""
    head = msgspec.to_builtins(made.session())
    head[data.draw(st.sampled_from(sorted(head)))] = value
    folder = tmp_path_factory.mktemp("s")
    (folder / "session.json").write_text(json.dumps(head))
    with contextlib.suppress(StoreError):
        store.load(folder)


def held(folder, shared, seconds=None):
    """A process that locks a folder as who follows a session (shared) or runs it does."""
    program = (
        "import fcntl, os, sys, time\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2]))\n"
        "print('held', flush=True)\n"
        "time.sleep(float(sys.argv[3]))\n"
    )
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(how), str(seconds or 60)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_trial_waits_for_who_follows_the_session(tmp_path):
    """Whoever looks has looked when a trial begins, so nothing of it is in the figures."""
    with contextlib.closing(store.create(tmp_path / "s", made.session())) as writer:
        follower = held(tmp_path / "s", shared=True, seconds=0.3)
        with writer.measuring():
            assert follower.wait(5) == 0


def test_who_hangs_while_following_holds_nothing_up_for_ever(tmp_path, monkeypatch):
    """After a while the trial goes on; the gates say when that was in its figures."""
    monkeypatch.setattr(store, "FOLLOWERS_S", 0.1)
    with contextlib.closing(store.create(tmp_path / "s", made.session())) as writer:
        follower = held(tmp_path / "s", shared=True)
        try:
            with writer.measuring():
                assert follower.poll() is None
        finally:
            follower.kill()
            follower.wait()


def test_who_follows_a_session_waits_for_its_trial(tmp_path):
    """No look falls into a trial; between two of them there is time."""
    with contextlib.closing(store.create(tmp_path / "s", made.session())):
        running = held(tmp_path / "s", shared=False, seconds=0.3)
        with store.between_trials(tmp_path / "s"):
            assert running.wait(5) == 0
    with pytest.raises(StoreError, match="cannot be read"), store.between_trials(tmp_path / "no"):
        pass
