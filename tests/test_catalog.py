"""Guards the catalogue: a contender's block becomes a Server, or one line says what is wrong."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c10k import catalog, places
from c10k.model import Note, Server

BLOCK = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["packaging>=24"]
# [tool.c10k]
# framework = "packaging"
# title = "mine"
# model = "callbacks"
# unit = "task"
# tier = "variant"
# notes = [{ python = ">=3", text = "a remark" }, { python = "<3", text = "of old" }]
# ///
"""


@pytest.fixture
def write(tmp_path):
    def to(text, name="mine_server.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return to


def test_a_block_becomes_a_server(write):
    """Every key of the block arrives where the engine looks for it."""
    path = write(BLOCK + "import nonsense\n")
    assert catalog.read(path) == Server(
        name="mine_server",
        path=str(path),
        title="mine",
        model="callbacks",
        unit="task",
        tier="variant",
        framework="packaging",
        requires_python=">=3.11",
        dependencies=("packaging>=24",),
        notes=(Note(">=3", "a remark"), Note("<3", "of old")),
    )


def test_a_server_is_never_run(write):
    """Listing contenders must not execute them."""
    catalog.read(write(BLOCK + "raise SystemExit('it was run')\n"))


def test_a_program_has_its_table_in_a_toml(write):
    """Another language: the same table, with the commands."""
    table = 'title="t"\nmodel="m"\nunit="u"\ntier="floor"\nbuild=["cc"]\nstart=["{out}"]\n'
    server = catalog.read(write("[tool.c10k]\n" + table, "mine_c.toml"))
    assert (server.build, server.start) == (("cc",), ("{out}",))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('# title = "mine"\n', "", "title"),
        ('tier = "variant"', 'tier = "best"', "tier"),
        ('unit = "task"', "unit = 3", "unit"),
        ('unit = "task"', 'unitt = "task"', "unitt"),
        ("packaging>=24", "packaging>>24", "packaging>>24"),
        (">=3.11", "3.11 or so", "3.11 or so"),
        ('python = "<3"', 'python = "old"', "old"),
        ("[tool.c10k]", "[tool.else]", "tool.c10k: missing"),
        ("# ///\n", "", "PEP 723"),
        ('title = "mine"', "title = mine", "does not parse"),
        (BLOCK, BLOCK + "\n" + BLOCK, "2 PEP 723 blocks"),
    ],
)
def test_a_fault_is_named_with_its_file_and_key(write, old, new, words):
    """One line that says where, and what: no traceback."""
    path = write(BLOCK.replace(old, new))
    with pytest.raises(catalog.CatalogError) as caught:
        catalog.read(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_file_and_a_program_without_start_are_named(write, tmp_path):
    """What cannot be read, or could not be started, is said at once."""
    with pytest.raises(catalog.CatalogError, match="no such file"):
        catalog.read(tmp_path / "none.py")
    table = '[tool.c10k]\ntitle="t"\nmodel="m"\nunit="u"\ntier="floor"\n'
    with pytest.raises(catalog.CatalogError, match="start: missing"):
        catalog.read(write(table, "mine.toml"))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.binary(),
        st.text().map(lambda text: "# /// script\n# " + text + "\n# ///\n"),
        st.tuples(st.integers(0, len(BLOCK)), st.text(max_size=5)).map(
            lambda at: BLOCK[: at[0]] + at[1] + BLOCK[at[0] :]
        ),
        st.tuples(st.integers(0, len(BLOCK)), st.integers(1, 20)).map(
            lambda cut: BLOCK[: cut[0]] + BLOCK[cut[0] + cut[1] :]
        ),
    ),
    st.sampled_from(["fuzzed.py", "fuzzed.toml"]),
)
def test_no_text_crashes_the_catalogue(tmp_path_factory, text, name):
    """Whatever a file holds, reading it gives a Server or a CatalogError."""
    path = Path(tmp_path_factory.getbasetemp()) / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(catalog.read(path), Server)
    except catalog.CatalogError as error:
        assert name in str(error)


def test_choosing_by_name_tier_and_path(write):
    """Words become servers, each once, in the order given."""
    known = catalog.find(places.SERVERS)
    path = write(BLOCK)
    chosen = catalog.choose(["trio_streams", "@floor", str(path), "trio_streams"], known)
    assert [server.name for server in chosen] == ["trio_streams", "epoll_c", "mine_server"]
    for word, words in (("trio", "trio_streams"), ("@best", "@canonical")):
        with pytest.raises(catalog.CatalogError, match=words):
            catalog.choose([word], known)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", ""),
        (">=3.11", ">=4", "needs Python >=4"),
        ("packaging>=24", "c10k-no-such>=1", "pip install 'c10k-no-such>=1'"),
        ("packaging>=24", "packaging>=2400", "pip install 'packaging>=2400'"),
        ("packaging>=24", "c10k-no-such; python_version < '3'", ""),
    ],
)
def test_why_not_says_what_to_do(write, old, new, words):
    """A server that cannot run here says why, with the command that helps."""
    reason = catalog.why_not(catalog.read(write(BLOCK.replace(old, new))))
    assert (words in reason) if words else not reason


def test_versions_and_notes_are_those_of_this_interpreter(write):
    """A row records what ran, and carries only the remarks that apply."""
    server = catalog.read(write(BLOCK))
    assert catalog.versions(server).keys() == {"packaging"}
    assert catalog.notes(server) == ("a remark",)
    curio = catalog.read(places.SERVERS / "curio_sockets.py")
    assert bool(catalog.notes(curio)) == (sys.version_info >= (3, 12))
