"""Guards the answers of docs/questions.md: which sessions, which commands, what is claimed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from c10k.run import store

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "questions.md").read_text()
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def answers():
    """tools/answers.py, whose folder is not on the path of tests."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import answers
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return answers


def kept(name):
    return store.load(ROOT / "results" / name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("reference-c10k", ""),
        ("reference-interpreters", ""),
        ("reference-breaking", "its tree was modified"),
        ("reference-beyond", "its tree was modified"),
        ("reference-holding", "its interpreter was not optimised"),
    ],
)
def test_a_session_that_is_known_to_be_wrong_answers_nothing(answers, name, why):
    """What results/README.md says of them."""
    assert answers.distrust(kept(name)) == why
    if why:
        with pytest.raises(ValueError, match=f"{name}.*{why}.*measure it again"):
            answers.trusted(name)


def test_a_session_of_the_old_instrument_answers_nothing(answers):
    """However clean its tree was."""
    old = replace(kept("reference-c10k"), started_at="2026-11-24T23:59:00+00:00")
    assert "instrument" in answers.distrust(old)


def test_a_resumed_session_of_two_machines_answers_nothing(answers):
    """Its figures are of two things."""
    assert "mixed" in answers.distrust(replace(kept("reference-c10k"), mixed=True))


def test_the_page_quotes_every_answer_once(answers):
    """And no other."""
    assert sorted(re.findall(r"<!-- answer: (\S+) -->", PAGE)) == sorted(answers.ANSWERS)


NAMES = ["curio-106", "discuss-106314", "trio-14", "trio-604", "uvloop-566"]


@pytest.mark.parametrize("name", NAMES)
def test_a_comment_has_five_lines_and_ends_with_its_command(answers, name):
    """The last line is what a reader types to see the rows."""
    text = answers.answer(Path(name))
    (comment,) = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)
    assert len(comment.splitlines()) == 5
    assert comment.splitlines()[-1] == answers.ANSWERS[name]().commands[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_command_shows_the_figures(answers, name):
    """The first row's figures are in what the first command prints."""
    found = answers.ANSWERS[name]()
    _, *words = shlex.split(found.commands[0])
    done = subprocess.run(
        [sys.executable, "-m", "c10k", *words, "--format", "markdown"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for cell in found.rows[0][3:]:
        assert cell in done.stdout, cell


def test_uvloop_is_below_two_where_the_interval_is_narrow(answers):
    """What the page says above its table."""
    ratios = [row.ratio for _, row in answers.rates("asyncio_streams", "uvloop_streams", ["3.13"])]
    ratios += [
        row.ratio for _, row in answers.rates("asyncio_streams", "uvloop_streams", ["default"])
    ]
    assert all(ratio.median < 2 for ratio in ratios)
    narrow = [each for each in ratios if each.low and each.high / each.low < 1.5]
    assert narrow
    assert all(ratio.high < 2 for ratio in narrow)


def test_curio_starves_nobody(answers):
    """The same."""
    _, judged = answers.trusted(answers.C10K)
    (row,) = [r for r in judged.rows if (r.server, r.clients) == ("curio_sockets", 19_900)]
    assert row.clients_without_echo == 0
    assert row.fairness.median > 0.99


def test_trio_is_retried_and_uvloop_is_not(answers):
    """The same."""
    _, judged = answers.trusted(answers.INTERPRETERS)
    retried = {row.server: row.retried for row in judged.rows if row.load.kind == "storm"}
    for label in ("default", "3.13"):
        assert retried[f"trio_streams@{label}"].median > 1000
        assert retried[f"curio_sockets@{label}"].median > 1000
        assert retried[f"uvloop_streams@{label}"].greatest == 0
    assert retried["asyncio_streams@default"].median > 0
    assert retried["asyncio_streams@3.13"].median == 0


def test_trio_has_half_of_asyncios_rate_or_less(answers):
    """The same, from 100 clients on."""
    found = answers.rates("asyncio_streams", "trio_streams", ["default", "3.13"])
    assert all(row.ratio.median < 0.6 for _, row in found if row.clients >= 100)


def test_threads_take_ten_times_the_memory(answers):
    """The same; and none is shown to be faster with many clients."""
    held = answers.shown(answers.INTERPRETERS, "idle", 10_000, ["KiB/client"])
    mine, theirs = (
        float(held[f"{name}@3.13t"][0]) for name in ("threads_sockets", "asyncio_streams")
    )
    assert 9 < mine / theirs < 11
    found = answers.rates("asyncio_streams", "threads_sockets", ["3.13t"])
    assert {row.verdict for _, row in found if row.clients >= 100} == {"not resolved"}
