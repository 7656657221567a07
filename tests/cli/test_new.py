"""Guards `c10k new`: a file that already runs, from the nearest server there is."""

import pytest
from command import c10k

from c10k import check, paths
from c10k.declare import catalog, template

SERVERS = catalog.find(paths.SERVERS)


@pytest.mark.parametrize(
    ("framework", "model", "found"),
    [
        ("asyncio", "", "asyncio_streams"),
        ("asyncio", "callbacks", "asyncio_buffered"),
        ("trio", "", "trio_streams"),
        ("", "thread per client", "threads_sockets"),
        ("", "greenlets", "gevent_streamserver"),
    ],
)
def test_the_nearest_server_is_the_template(framework, model, found):
    """The canonical one where there is one, of that framework and that model."""
    assert template.template(SERVERS, framework, model).name == found


@pytest.mark.parametrize(("framework", "model"), [("nodejs", ""), ("asyncio", "greenlets")])
def test_what_there_is_is_named(framework, model):
    """A wrong word is answered with the right ones."""
    with pytest.raises(template.NoTemplate, match=r"trio|coroutines"):
        template.template(SERVERS, framework, model)


@pytest.mark.parametrize(
    "server", [each for each in SERVERS if not each.start and not each.base], ids=lambda s: s.name
)
def test_every_template_is_a_server_of_its_own(server, tmp_path):
    """Another title, a variant, otherwise the same."""
    path = tmp_path / "demo.py"
    path.write_text(template.text(server, "demo"))
    made = catalog.read(path)
    assert (made.name, made.title, made.tier) == ("demo", "demo", "variant")
    assert (made.dependencies, made.framework) == (server.dependencies, server.framework)


def test_a_new_server_passes_its_check_as_it_is(tmp_path):
    """The command writes the file and says what to do next; a second call harms nothing."""
    done = c10k("new", "demo", "--framework", "asyncio", cwd=tmp_path)
    for command in ("check ./demo.py", "serve ./demo.py", "run quick --servers ./demo.py"):
        assert f"c10k {command}" in done.stdout
    assert check.check(catalog.read(tmp_path / "demo.py"), workdir=tmp_path).failures == ()
    written = (tmp_path / "demo.py").read_text()
    again = c10k("new", "demo", "--framework", "trio", cwd=tmp_path, code=2)
    assert "demo.py already exists" in again.stderr
    assert (tmp_path / "demo.py").read_text() == written


@pytest.mark.parametrize("name", ["../demo", "a b", "", "1st", "-x.py/"])
def test_a_name_that_is_none_writes_nothing(name, tmp_path):
    """A server's name is a word: it is its file's name, here."""
    c10k("new", "--framework", "asyncio", "--", name, cwd=tmp_path, code=2)
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_it_asks_nothing(tmp_path):
    """A program that calls it is told which option to give."""
    done = c10k("new", "demo", cwd=tmp_path, code=2, input="")
    assert "--framework aiofastnet, anyio, asyncio" in done.stderr
