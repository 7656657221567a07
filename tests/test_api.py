"""The names that docs/api.md promises: for notebooks, and for programs that plot their own."""

import inspect
import json
import re

import made
import pytest

import c10k
from c10k import paths

pytestmark = pytest.mark.once

PAGE = (paths.SUITE / "docs" / "api.md").read_text()


def test_the_page_names_what_there_is():
    """No more and no less than the package offers."""
    promised = re.findall(r"^\| `c10k\.(\w+)", PAGE, re.MULTILINE)
    assert sorted(promised) == sorted(c10k.__all__)
    for name in c10k.__all__:
        assert inspect.getdoc(getattr(c10k, name)), name


def test_a_session_becomes_plain_records(tmp_path):
    """Loaded by the text of its path; flat, of one set of keys, and JSON as they are."""
    made.kept(tmp_path / "s", made.session())
    found = c10k.records(c10k.judge(c10k.load(str(tmp_path / "s"))))
    assert found
    assert len({tuple(each) for each in found}) == 1
    assert json.loads(json.dumps(found)) == found
    named = set(re.findall(r"`([a-z]\w+)`", PAGE.partition("## The keys of a record")[2]))
    assert named - {"ok", "failed", "not", "run", "rows"} <= set(found[0])


def test_what_is_wrong_is_one_line():
    """A program catches one class, whatever it was."""
    with pytest.raises(c10k.UserError) as error:
        c10k.load("/nowhere")
    assert "\n" not in str(error.value)


def test_the_example_runs():
    """Where pandas is installed; the suite itself does not need it."""
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib").use("Agg")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    where = f'"{paths.SUITE / "results" / "reference-c10k"}"'
    exec(code.replace('"results/reference-c10k"', where), {})
