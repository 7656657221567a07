"""Guards comparing: pairs, verdicts by known truth, thresholds, and what cannot be compared."""

import json
import re
from pathlib import Path

import made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_cli import c10k

from c10k import compare, store

pytestmark = pytest.mark.once

LOADS = (made.load(10), made.load(100))


def measured(factor=1.0, seed=0, blocks=8, names=("alpha", "beta"), loads=LOADS, noise=0.005):
    """A session with a control, whose server beta is `factor` times as fast."""
    draw = np.random.default_rng(seed)

    def measure(trial):
        rate = 1e5 * (factor if trial.server == "beta" else 1.0) * trial.load.clients
        return made.ok(trial, rate=float(rate * np.exp(draw.normal(0, noise))))

    return made.session(list(names), loads, blocks, measure, control=True)


def verdicts(found):
    return {(row.server, row.clients): row.verdict for row in found.rows}


def test_equal_sessions_are_the_same_or_not_resolved():
    """A/A: in 20 pairs of sessions of the same servers hardly a difference is claimed."""
    claimed = 0
    for seed in range(20):
        found = compare.sessions(measured(seed=seed), measured(seed=100 + seed), ("a", "b"))
        claimed += any(word in ("faster", "slower") for word in verdicts(found).values())
    assert claimed <= 2


@pytest.mark.parametrize(("factor", "word"), [(1.1, "faster"), (0.9, "slower")])
def test_a_planted_difference_is_found_with_its_ratio(factor, word):
    """Only the server that changed is called so, by the ratio that was planted."""
    found = compare.sessions(measured(seed=1), measured(factor, seed=2), ("a", "b"))
    for row in found.rows:
        if row.server == "beta":
            assert row.verdict == word
            assert row.ratio.low < factor < row.ratio.high
        else:
            assert row.verdict in ("same", "not resolved")


def test_two_servers_of_one_session_are_compared_by_block():
    """What drifts between the blocks cancels out."""
    draw = np.random.default_rng(5)
    drift = draw.normal(0, 0.2, 8)

    def measure(trial):
        rate = 1e5 * (1.05 if trial.server == "beta" else 1.0)
        return made.ok(trial, rate=float(rate * np.exp(drift[trial.block] + draw.normal(0, 0.003))))

    session = made.session(["alpha", "beta"], LOADS, 8, measure, control=True)
    found = compare.servers(session, "alpha", "beta")
    for row in found.rows:
        assert row.server == "beta / alpha"
        assert row.verdict == "faster"
        assert row.ratio.low < 1.05 < row.ratio.high
        assert row.ratio.high / row.ratio.low < 1.02


def test_what_one_session_lacks_is_named():
    """Cells without a counterpart are said, the rest is compared."""
    found = compare.sessions(measured(), measured(loads=LOADS[:1], names=["beta"]), ("a", "b"))
    assert set(verdicts(found)) == {("beta", 10)}
    assert "only in a: alpha under closed 64 B at 10, closed 64 B at 100" in found.warnings


def test_sessions_with_nothing_in_common_are_refused():
    """One line that says what each has."""
    with pytest.raises(compare.NothingInCommon, match=r"a has alpha.*; b has gamma"):
        compare.sessions(measured(), measured(names=["gamma"]), ("a", "b"))
    with pytest.raises(compare.NothingInCommon, match="alpha-control"):
        compare.servers(measured(), "alpha", "nobody")


def test_thresholds_fail_only_what_is_worse_with_its_whole_interval():
    """5 % worse fails at 3 %, not at 10 %; better never fails; less memory is better."""
    slower = compare.sessions(measured(seed=1), measured(0.95, seed=2), ("a", "b"))
    assert {row.server for row in compare.beyond(slower, {"": 0.03})} == {"beta"}
    assert compare.beyond(slower, {"": 0.10}) == []
    assert compare.beyond(slower, {"messages_per_s": 0.03})
    faster = compare.sessions(measured(seed=1), measured(1.3, seed=2), ("a", "b"))
    assert compare.beyond(faster, {"": 0.03}) == []

    def heavier(trial):
        base = made.ok(trial)
        return replace(
            base, server=replace(base.server, after=made.memory(10_000_000 + 8192 * base.served))
        )

    figure = "memory_per_client_bytes"
    light, heavy = measured(), made.session(loads=LOADS, blocks=8, measure=heavier, control=True)
    up = compare.sessions(light, heavy, ("a", "b"), [figure])
    assert len(compare.beyond(up, {figure: 0.5})) == 4
    assert compare.beyond(compare.sessions(heavy, light, ("a", "b"), [figure]), {figure: 0.5}) == []


def test_without_a_control_it_says_so():
    """The noise floor is what makes a small difference believable."""
    bare = made.session()
    assert any("no control" in line for line in compare.sessions(bare, bare, ("a", "b")).warnings)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(1e-6, 1e6))
def test_no_sizes_crash_it(blocks, others, factor):
    """Few blocks, wild ratios: a verdict or none, and never an order without evidence."""
    found = compare.sessions(
        measured(blocks=blocks), measured(factor, seed=3, blocks=others), ("a", "b")
    )
    if min(blocks, others) < 3:
        assert set(verdicts(found).values()) <= {"not resolved"}
    compare.beyond(found, {"": 0.05})


@pytest.fixture
def folders(tmp_path):
    """Two stored sessions: before, and after with beta a tenth slower."""
    for name, session in (("before", measured(seed=1)), ("after", measured(0.9, seed=2))):
        environment = {**session.environment, "python": {"version": name}}
        writer = store.create(tmp_path / name, replace(session, environment=environment))
        for measurement in session.measurements:
            writer.append(measurement)
        writer.close()
    return tmp_path / "before", tmp_path / "after"


def test_the_command_says_environments_first_and_fails_on_request(folders):
    """Differences of the machines, then the table; exit code 1 and the rows that are worse."""
    done = c10k("compare", *folders)
    assert done.stdout.startswith("! environment: python.version: before → after")
    assert done.stdout.count("slower") == 2
    failed = c10k("compare", *folders, "--fail-on", "5%", code=1)
    assert failed.stderr.count("worse than allowed: beta") == 2
    assert c10k("compare", *folders, "--fail-on", "messages_per_s:50%").stderr == ""
    assert c10k("compare", *reversed(folders), "--fail-on", "5%").stderr == ""


def test_two_servers_of_one_folder(folders):
    """A third word makes the others the names of servers."""
    done = c10k("compare", folders[1], "alpha", "beta")
    assert "beta / alpha" in done.stdout
    assert "slower" in done.stdout


GOLDEN = Path(__file__).parent / "golden"
STEPS = (0.0, 0.004, -0.003, 0.002, -0.004, 0.001, 0.003, -0.002)


@pytest.fixture
def fixed(tmp_path, monkeypatch):
    """Two stored sessions without any randomness, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, factor in (("before", 1.0), ("after", 0.9)):

        def measure(trial, factor=factor):
            rate = 1e5 * (factor if trial.server == "beta" else 1.0) * trial.load.clients
            # what distinguishes servers and loads must not be the same in every block
            place = len(trial.server) + trial.load.clients + 3 * trial.block
            return made.ok(trial, rate=rate * (1 + STEPS[place % 8]))

        session = made.session(["alpha", "beta"], LOADS, 8, measure, control=True)
        writer = store.create(Path(name), session)
        for measurement in session.measurements:
            writer.append(measurement)
        writer.close()
    return tmp_path


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "json"])
def test_each_format_is_as_the_golden_file_has_it(fixed, form):
    """What people and tools read keeps its shape, to the letter."""
    done = c10k("compare", "before", "after", "--format", form)
    golden = GOLDEN / f"compare.{form}"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(done.stdout)
        pytest.fail(f"{golden} was written: look at it, and keep it")
    assert rounded(done.stdout) == rounded(golden.read_text())


def rounded(text):
    """The last digits of a double may be another machine's; the rest may not."""
    return re.sub(r"\d+\.\d{6,}", lambda match: f"{float(match[0]):.9g}", text)


def test_json_holds_everything(folders):
    """For programs: rows with ratio and verdict, environments, and what failed."""
    done = c10k("compare", *folders, "--format", "json", "--fail-on", "5%", code=1)
    found = json.loads(done.stdout)
    assert found["environment"] == ["python.version: before → after"]
    assert {row["verdict"] for row in found["rows"] if row["server"] == "beta"} == {"slower"}
    assert [row["server"] for row in found["failed"]] == ["beta", "beta"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--fail-on", "much"), "is no share"),
        (("--fail-on", "beauty:5%"), "no figure is named 'beauty'"),
        (("--fail-on", "0%"), "is no share"),
    ],
)
def test_a_threshold_that_is_none_is_one_line(folders, words, says):
    """What was wrong, and what there is."""
    done = c10k("compare", *folders, *words, code=2)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{}", "{", '{"schema": 99}', "\xff"])
def test_a_foreign_or_broken_file_is_one_line(folders, text):
    """Truncated, corrupted, another schema: exit code 2, the file named."""
    (folders[1] / "session.json").write_text(text, encoding="latin-1")
    done = c10k("compare", *folders, code=2)
    assert "session.json" in done.stderr
    assert len(done.stderr.splitlines()) == 1
