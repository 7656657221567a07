"""Guards the pages: what they quote is fresh, what they name exists, what exists is named."""

import configparser
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from c10k import cli, paths
from c10k.declare import catalog

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])
README = (ROOT / "README.md").read_text()


def refresh():
    """tools/refresh_docs.py as a module."""
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "tools" / "refresh_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_parts_are_fresh(page):
    """Tables and sources in the pages are those that the command writes."""
    assert refresh().refreshed(page.read_text()) == page.read_text(), "python tools/refresh_docs.py"


def test_the_published_page_and_picture_are_of_the_reference_session():
    """They carry the digest of the session they were made of; the page is not too large."""
    module = refresh()
    for target, (_, session) in module.PUBLISHED.items():
        assert module.made_of(target, session), "python tools/refresh_docs.py"
    assert (ROOT / "docs" / "c10k.html").stat().st_size < 2_000_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every relative link points to a file that is there, and to a heading of it."""
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert heading in slugs, target


def test_the_readme_shows_the_two_commands_and_a_whole_server_first():
    """First screen: make bench, make test, the reference table."""
    table = re.search(r"\| server \|", README)
    assert README.index("make bench") < README.index("make test") < table.start()
    assert "asyncio.run(main())" in README


def test_the_readme_names_every_command():
    """No command of the command line is undocumented."""
    for command in cli.app:
        if not command.startswith("-"):
            assert f"c10k {command}" in README, command


def test_the_extras_cover_the_servers():
    """A canonical framework has its extra, and `all` has them; the others are in `more`.

    What pip cannot install everywhere is in none, as it would take the rest of it along.
    """
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    more = {Requirement(each).name for each in extras["more"]}
    for server in catalog.find(paths.SERVERS):
        if server.glibc or server.free_threaded:
            assert server.framework not in more, server.name
        elif server.framework not in more | {""}:
            assert server.framework in extras, server.name
            assert server.framework in extras["all"][0]


def test_tox_has_the_jobs_that_the_makefile_calls():
    """The Makefile holds no job of its own: the list that `tox run` goes through, and `bench`."""
    makefile = (ROOT / "Makefile").read_text()
    jobs = configparser.ConfigParser(interpolation=None)
    jobs.read(ROOT / "tox.ini")
    assert re.search(r"/tox run$", makefile, re.MULTILINE)  # without -e: the whole list
    listed = [name.strip() for name in jobs["tox"]["env_list"].split(",")]
    for job in listed:
        assert re.fullmatch(r"py3\d+", job) or f"testenv:{job}" in jobs, job
    (bench,) = re.findall(r"^bench:.*\n\t(.*)$", makefile, re.MULTILINE)
    assert bench.removeprefix("$(VENV)/bin/") in jobs["testenv:bench"]["commands"]


def test_every_job_that_a_page_names_is_in_tox():
    """`tox -e NAME`, wherever it stands."""
    jobs = configparser.ConfigParser(interpolation=None)
    jobs.read(ROOT / "tox.ini")
    for page in PAGES:
        named = re.findall(r"tox (?:run )?-e ([\w,-]+)", page.read_text())
        for job in ",".join(named).split(",") if named else ():
            assert re.fullmatch(r"py3\d+", job) or f"testenv:{job}" in jobs, f"{page.name}: {job}"
