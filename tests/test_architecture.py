"""Guards the house: who may import whom, and that contenders and client stand alone."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "src" / "c10k"

# What every package may import besides what is named for it: one line a person reads, and
# two modules that know nothing of the suite.
COMMON = {"errors", "paths", "text", "model"}

# Package → which others of ours it may import. A line may only name lines above it: what
# flows goes down the table, from a workload's file to the page, and never back up.
MAY_IMPORT = {
    "errors": set(),
    "paths": set(),
    "text": set(),
    "model": set(),
    "histograms": set(),
    "declare": set(),
    "plan": set(),
    "launch": {"declare"},
    "machine": {"plan", "launch"},
    "check": {"launch"},
    "judge": {"histograms", "plan"},
    "run": {"declare", "plan", "launch", "machine", "check", "judge", "histograms"},
    "claims": {"launch", "judge"},
    "render": {"plan", "judge", "histograms"},
    "cli": {
        "declare", "plan", "launch", "machine", "check", "judge", "run", "claims", "render",
    },
}  # fmt: skip
STAND_ALONE = {"errors", "paths", "text", "model"}  # import nothing of ours at all


def modules():
    """Every module of the engine but the package's own two."""
    for path in sorted(ENGINE.rglob("*.py")):
        inside = path.relative_to(ENGINE)
        if inside.parts not in (("__init__.py",), ("__main__.py",)):
            yield pytest.param(path, id=str(inside))


def imports(path):
    """(level, module, names) of each import statement in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield 0, name.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", [name.name for name in node.names]


def packages_imported(path):
    """The packages of the engine that a file imports, by their first name."""
    depth = len(path.relative_to(ENGINE).parts)  # 1 at the top, 2 in a package
    for level, module, names in imports(path):
        if level == 0:
            assert module.partition(".")[0] != "c10k", f"{path}: import the engine relatively"
        elif level == depth:  # from the engine's top
            yield from [module.partition(".")[0]] if module else names


def test_what_flows_goes_down_the_table():
    """No package may import one that stands below it, so there is no circle."""
    order = list(MAY_IMPORT)
    for package, others in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(package) for other in others), package


def test_the_page_shows_the_same_table():
    """docs/architecture.md says what this test asserts."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = {
        name: set(re.findall(r"`(\w+)`", others))
        for name, others in re.findall(r"^\| `(\w+)/` \| [^|]* \| (.*) \|$", page, re.MULTILINE)
    }
    assert shown == {name: of for name, of in MAY_IMPORT.items() if name not in STAND_ALONE}


def test_every_package_is_in_the_table():
    """Someone who adds a room says what it may know."""
    there = {path.relative_to(ENGINE).parts[0].removesuffix(".py") for path in ENGINE.rglob("*.py")}
    assert there - {"__init__", "__main__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", list(modules()))
def test_a_module_imports_only_what_its_package_may(path):
    """A package knows its neighbours of the table and nobody else."""
    package = path.relative_to(ENGINE).parts[0].removesuffix(".py")
    allowed = MAY_IMPORT[package] | ({package} if package in STAND_ALONE else {package, *COMMON})
    assert set(packages_imported(path)) <= allowed


def test_the_command_line_is_the_way_in_and_nothing_below_knows_it():
    """Only python -m c10k imports cli/: what the command does can be done without it."""
    for path in ENGINE.rglob("*.py"):
        if path.parent != ENGINE / "cli" and path.name != "__main__.py":
            assert "cli" not in set(packages_imported(path)), path


def test_the_model_holds_nothing_but_types():
    """The data types depend on nothing but the library that makes them frozen."""
    for path in (ENGINE / "model").glob("*.py"):
        outside = {module for level, module, _ in imports(path) if level == 0}
        assert outside <= {"typing", "msgspec", "collections.abc"}, path


def test_the_listing_is_seen_at_one_glance():
    """At most 18 entries at the top, and no file that one has to scroll through for long."""
    entries = [path for path in ENGINE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 18, sorted(path.name for path in entries)
    for path in ENGINE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 450, path


def test_no_function_is_longer_than_sixty_lines():
    """With signature and docstring, and without decorators."""
    long = {
        (str(path.relative_to(ENGINE)), node.name)
        for path in ENGINE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > 60
    }
    assert long == set()


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
