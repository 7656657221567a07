"""Guards the house: who may import whom, and that contenders and client stand alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "src" / "c10k"

# module → what of ours it may import.
MAY_IMPORT = {
    "model": set(),
    "places": set(),
    "plain": set(),
    "reading": set(),
    "histograms": set(),
    "intervals": {"histograms"},
    "stats": set(),
    "catalog": {"model", "places", "reading"},
    "workload": {"model", "reading"},
    "plan": {"model"},
    "confine": set(),
    "keeper": set(),
    "launch": {"model", "places", "plain", "confine", "keeper"},
    "new": {"model", "places"},
    "runtime": {"model", "places", "catalog", "launch"},
    "drive": {"model", "launch", "keeper", "places", "stats", "histograms", "intervals"},
    "processes": {"keeper"},
    "watch": {"model", "keeper", "processes"},
    "gates": {"model"},
    "session": {"model", "plan", "launch", "drive", "watch", "gates", "store"},
    "store": {"model", "places"},
    "figures": {"model", "stats", "gates", "histograms", "intervals"},
    "search": {"model"},
    "scaling": {"model", "stats", "figures", "search"},
    "judge": {"model", "stats", "gates", "figures", "search", "scaling"},
    "evidence": {"model", "stats", "figures", "gates", "judge"},
    "compare": {"model", "stats", "gates", "figures", "judge", "evidence"},
    "claims": {"model", "places", "stats", "watch"},
    "machine": {"model", "watch"},
    "local": {"model", "session", "drive", "machine", "watch", "places"},
    # `local` is one kind of machines that a session runs on, `cluster` the other
    "cluster": {
        "model",
        "session",
        "drive",
        "launch",
        "keeper",
        "machine",
        "watch",
        "places",
        "catalog",
    }
    | {"cluster"},
    "render": {"model", "plain", "histograms", "figures", "render"},
    "check": {"model", "launch", "check", "places", "processes"},
}


def rooms():
    """Every module of the engine but the package's own and the command line."""
    for path in sorted(ENGINE.rglob("*.py")):
        inside = path.relative_to(ENGINE)
        if inside.parts not in (("__init__.py",), ("__main__.py",), ("cli.py",)):
            yield pytest.param(path, id=str(inside))


def imports(path):
    """(level, module, names) of each import statement in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield 0, name.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [name.name for name in node.names]


def ours(path):
    """The modules of the engine that a file imports, by their first name."""
    depth = len(path.relative_to(ENGINE).parts)  # 1 at the top, 2 in a package
    for level, module, names in imports(path):
        if level == 0:
            assert module.partition(".")[0] != "c10k", f"{path}: import the engine relatively"
        elif level == depth:  # from the engine's top
            yield from [module.partition(".")[0]] if module else names
        else:  # from its own package
            yield path.parent.name


@pytest.mark.parametrize("path", list(rooms()))
def test_a_module_imports_only_what_its_room_may(path):
    """A module knows its neighbours of the table and nobody else."""
    inside = path.relative_to(ENGINE)
    room = inside.parts[0].removesuffix(".py")
    assert room in MAY_IMPORT, f"{inside}: name the module in the table"
    assert set(ours(path)) <= MAY_IMPORT[room]


def test_the_model_holds_nothing_but_types():
    """The data types depend on nothing but the library that makes them frozen."""
    assert {module for _, module, _ in imports(ENGINE / "model.py")} == {"typing", "msgspec"}


@pytest.mark.parametrize("folder", ["servers", "clients"])
def test_contenders_and_client_stand_alone(folder):
    """No server and no client imports the suite, so that any of them can be replaced."""
    for path in (ROOT / folder).glob("*.py"):
        assert all(module.partition(".")[0] != "c10k" for _, module, _ in imports(path)), path


def test_servers_share_no_code():
    """A server is one file: it imports no other file of its folder."""
    stems = {path.stem for path in (ROOT / "servers").glob("*.py")}
    for path in (ROOT / "servers").glob("*.py"):
        assert not stems & {module for _, module, _ in imports(path)}, path


def test_the_engine_starts_without_scipy():
    """Importing scipy.stats takes over a second: only a comparison may pay for it."""
    for path in ENGINE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("scipy") for name in node.names), path
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("scipy"), path
