"""Guards the catalogue: a contender's block becomes a Server, or one line says what is wrong."""

import contextlib
import errno
import platform
import re
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from c10k import launch, paths
from c10k.declare import catalog, choosing, template
from c10k.launch import requirements, runtime
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

KNOWN = catalog.find(paths.SERVERS)


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
    assert catalog.read(write(BLOCK + "raise SystemExit('it was run')\n")).title


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
        ("# notes", '# io_uring = "new"\n# notes', "tool.c10k.io_uring: 'new'"),
        ("# notes", '# glibc = "2.39 or so"\n# notes', "tool.c10k.glibc: '2.39 or so'"),
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


HOOKED = """\
[tool.c10k]
title = "mine, hooked"
tier = "tuned"
base = "mine_server.py"
hook = "my_hook.py"
"""


def test_a_server_with_a_hook_is_its_base_under_another_name(write):
    """What its file does not say is the base's; it is run by the base's interpreter."""
    base = catalog.read(write(BLOCK))
    hook = write("import gc\n", "my_hook.py")
    path = write(HOOKED, "mine_hooked.toml")
    server = catalog.read(path)
    assert server == replace(
        base,
        name="mine_hooked",
        path=str(path),
        title="mine, hooked",
        tier="tuned",
        base=str(base.path),
        hook=str(hook),
    )
    assert launch.command(server)[-2:] == [base.path, str(hook)]
    assert [each.name for each in paths.sources(*server.files)] == [
        "mine_hooked.toml",
        "mine_server.py",
        "my_hook.py",
    ]
    before = catalog.code(server)
    write(BLOCK + "changed = 1\n")
    assert catalog.code(server) != before
    assert template.frameworks([server, base]) == {"mine": [base]}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('hook = "my_hook.py"\n', "", "tool.c10k.hook: missing"),
        ("title =", "unit =", "unit"),
        ('"mine_server.py"', '"no_server.py"', "tool.c10k.base: no_server.py: no such file"),
        ('"mine_server.py"', '"mine_hooked.toml"', "tool.c10k.base: must be a Python file"),
        ('"my_hook.py"', '"no_hook.py"', "tool.c10k.hook: no_hook.py: no such file"),
        ('"my_hook.py"', "3", "tool.c10k.hook: must be text"),
        ('"my_hook.py"', '"""\n.py"""', "tool.c10k.hook"),
        ('"mine_server.py"', '"my_hook.py"', "PEP 723"),
    ],
)
def test_a_fault_of_a_server_with_a_hook_is_named(write, old, new, words):
    """A base or hook that is not there or cannot be used, and keys that are the base's to say."""
    write(BLOCK)
    write("import gc\n", "my_hook.py")
    with pytest.raises(catalog.CatalogError) as caught:
        catalog.read(write(HOOKED.replace(old, new), "mine_hooked.toml"))
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
    known = catalog.find(paths.SERVERS)
    path = write(BLOCK)
    chosen = choosing.choose(["trio_streams", "@floor", str(path), "trio_streams"], known)
    assert [server.name for server in chosen] == ["trio_streams", "epoll_c", "mine_server"]
    for word, words in (("trio", "trio_streams"), ("@best", "@canonical")):
        with pytest.raises(catalog.CatalogError, match=words):
            choosing.choose([word], known)


def test_a_folder_of_the_servers_is_chosen_by_its_name():
    """@working is every server at work; what is no folder of servers is told with those there."""
    known = catalog.find(paths.SERVERS)
    chosen = choosing.choose(["@working"], known)
    assert chosen == catalog.find(paths.SERVERS / "working")
    assert choosing.untrusted_commands(chosen) == []
    for word in ("@../tests", "@__pycache__", "@"):
        with pytest.raises(catalog.CatalogError, match=r"there is no tier .*@variant, @working"):
            choosing.choose([word], known)


def test_any_program_is_a_contender(tmp_path, monkeypatch):
    """NAME=COMMAND: its files are found from here, wherever it will be started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "echo").write_text("#!/bin/sh\n")
    (tmp_path / "echo").chmod(0o755)
    (tmp_path / "a.js").touch()
    (plain,) = choosing.choose(["go=./echo -n 1,2 {x}"], ())
    assert plain.start == (str(tmp_path / "echo"), "-n", "1,2", "{{x}}")
    assert (plain.name, plain.path) == ("go", str(tmp_path / "echo"))
    (script,) = choosing.choose(["js=sh a.js"], ())
    assert (script.start[1:], script.path) == ((str(tmp_path / "a.js"),), str(tmp_path / "a.js"))


@pytest.mark.parametrize("word", ["trio==" + "9" * 5000, "trio==1; os_name == 'a/b'", "trio\x1b"])
def test_an_override_that_makes_no_name_is_refused(word):
    """It is part of the row's name, and so of files'."""
    with pytest.raises(catalog.CatalogError, match="cannot name a server"):
        choosing.choose([f"trio_streams@{word}"], catalog.find(paths.SERVERS))


@pytest.mark.parametrize("stem", ["a b", "x" * 101, "-x", "(1)"])
def test_a_file_whose_name_makes_no_server_is_refused(write, stem):
    """Its stem is the server's name."""
    with pytest.raises(catalog.CatalogError, match="cannot name a server"):
        catalog.read(write(BLOCK, f"{stem}.py"))


def test_an_override_isolates_a_server(write):
    """Another version or interpreter stands in the name, and in the requirements."""
    known = catalog.find(paths.SERVERS)
    two = choosing.choose(["trio_streams@trio==0.24,trio_streams@trio==0.35"], known)
    assert [(each.name, each.dependencies) for each in two] == [
        ("trio_streams@trio==0.24", ("trio==0.24",)),
        ("trio_streams@trio==0.35", ("trio==0.35",)),
    ]
    (one,) = choosing.choose([f"{write(BLOCK)}@python3.14t"], known)
    assert (one.python, one.isolated, one.name) == ("python3.14t", True, "mine_server@python3.14t")
    assert all(each.isolated for each in choosing.choose(["@canonical@python3.13"], known))


def test_an_interpreter_is_named_by_its_version_or_its_path(tmp_path):
    """The name has no slash; two paths that end alike are told apart by all their parts."""
    programs = [tmp_path / name / "bin" / "python3" for name in ("one", "two")]
    for program in programs:
        program.parent.mkdir(parents=True)
        program.touch()
    chosen = choosing.choose(
        ["trio_streams@3.14t", *(f"trio_streams@{program}" for program in programs)], KNOWN
    )
    assert [(each.name, each.interpreter) for each in chosen] == [
        ("trio_streams@3.14t", "3.14t"),
        ("trio_streams@one-python3", "one-python3"),
        ("trio_streams@two-python3", "two-python3"),
    ]
    alike = tmp_path / "sub" / "one" / "bin" / "python3"
    alike.parent.mkdir(parents=True)
    alike.touch()
    pair = choosing.choose([f"trio_streams@{programs[0]}", f"trio_streams@{alike}"], KNOWN)
    assert len({each.name for each in pair}) == 2
    assert all("/" not in each.name for each in pair)


def test_every_server_runs_on_every_interpreter():
    """On one interpreter names stay; a server that names its own, or a program, is entered once."""
    servers = choosing.choose(["trio_streams", "threads_sockets@3.12", "epoll_c"], KNOWN)
    one = choosing.on_each(servers, ["3.13"])
    assert [(each.name, each.python) for each in one] == [
        ("trio_streams", "3.13"),
        ("threads_sockets@3.12", "3.12"),
        ("epoll_c", ""),
    ]
    several = choosing.on_each(servers, ["default", "3.13t"])
    assert [(each.name, each.python, each.interpreter, each.isolated) for each in several] == [
        ("trio_streams@default", "default", "default", True),
        ("trio_streams@3.13t", "3.13t", "3.13t", True),
        ("threads_sockets@3.12", "3.12", "3.12", True),
        ("epoll_c", "", "", False),
    ]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("./no/python", "there is no such interpreter"),
        ("/no/such/python", "there is no such interpreter"),
        ("newest", "an interpreter is written as"),
        ("3.14tt", "an interpreter is written as"),
    ],
)
def test_an_interpreter_that_is_none_is_said(word, told):
    """Before anything runs, in one line."""
    with pytest.raises(catalog.CatalogError, match=told):
        choosing.choose([f"trio_streams@{word}"], KNOWN)
    with pytest.raises(catalog.CatalogError, match=r"no such interpreter|is not an interpreter"):
        choosing.on_each(choosing.choose(["trio_streams"], KNOWN), [word])


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("go=", "go="),
        ("go=./no-such-program", "no-such-program"),
        ("go='", "quotation"),
        ("trio_streams@gevent==1", "depends on trio, not on gevent"),
        ("trio_streams@", "trio_streams"),
        ("trio_streams@@", "DISTRIBUTION"),
        ("trio_streams@trio=0.24", "DISTRIBUTION==VERSION"),
        ("trio_streams@trio @ file:///x", "DISTRIBUTION"),
        ("epoll_c@trio==1", "only Python servers"),
    ],
)
def test_a_word_that_names_nothing_is_told_so(word, words):
    """What was wrong, and how to write it."""
    with pytest.raises(catalog.CatalogError, match=re.escape(words)):
        choosing.choose([word], catalog.find(paths.SERVERS))


def test_two_files_of_one_name_are_refused(write):
    """Rows are named by their server: two of one name would be one."""
    path = write(BLOCK, "trio_streams.py")
    with pytest.raises(catalog.CatalogError, match="rename"):
        choosing.choose(["trio_streams", str(path)], catalog.find(paths.SERVERS))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="atrio_@=<>!~.,/ 0$\x00'\"", max_size=30), max_size=3))
def test_no_word_crashes_the_choice(words):
    """Whatever is asked for gives servers or a CatalogError."""
    with contextlib.suppress(catalog.CatalogError):
        choosing.choose(words, catalog.find(paths.SERVERS))


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
    reason = requirements.why_not_runnable(catalog.read(write(BLOCK.replace(old, new))))
    assert (words in reason) if words else not reason


def test_why_not_names_the_c_library_that_the_packages_need(write, monkeypatch):
    """Packages that no pip can install here: the library is named, and not a command.

    One that is installed all the same was built here, and elsewhere than on glibc others count.
    """
    missing = BLOCK.replace("packaging>=24", "no-such-framework>=1")
    needs = '# glibc = ">=2.39"\n# notes'
    server, built = (
        catalog.read(write(text.replace("# notes", needs), name))
        for text, name in ((missing, "missing_one.py"), (BLOCK, "built_one.py"))
    )
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    assert requirements.why_not_runnable(server) == "needs glibc >=2.39; this is 2.36"
    assert requirements.why_not_runnable(built) == ""
    for other in (("glibc", "2.41"), ("", "")):
        monkeypatch.setattr(platform, "libc_ver", lambda other=other: other)
        assert requirements.why_not_runnable(server).startswith("no-such-framework is not")


@pytest.mark.parametrize(
    ("release", "code", "reason"),
    [
        ("6.18.44-fc-v657", 0, ""),
        ("5.19-rc1", 0, ""),
        ("5.15.0-91-generic", 0, "needs io_uring as Linux >=5.19 has it; this is 5.15.0"),
        ("6.1.0", errno.EPERM, "the kernel forbids io_uring (sysctl kernel.io_uring_disabled, "),
        ("6.1.0", errno.ENOSYS, "the kernel has no io_uring"),
        ("6.1.0", errno.ENOMEM, "io_uring cannot be used: Cannot allocate memory"),
        ("odd", 0, "needs io_uring as Linux >=5.19 has it; this is 0"),
    ],
)
def test_why_not_says_that_the_kernel_forbids_io_uring(write, monkeypatch, release, code, reason):
    """A server that states the need gets a row with the reason, also in an environment of its
    own; one that does not is not asked."""
    server = catalog.read(write(BLOCK.replace("# notes", '# io_uring = ">=5.19"\n# notes')))
    other = catalog.read(write(BLOCK, "other_server.py"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "release", lambda: release)
    monkeypatch.setattr(requirements, "_io_uring_error", lambda: code)
    assert requirements.why_not_runnable(server).startswith(reason)
    assert bool(requirements.why_not_runnable(server)) == bool(reason)
    assert requirements.why_not_runnable(other) == ""
    if reason:
        with pytest.raises(runtime.CannotRun, match=re.escape(reason)):
            runtime.prepare(replace(server, isolated=True))


def test_a_ring_that_the_kernel_refuses_has_a_number():
    """The probe leaves nothing open, and says the kernel's own errno."""
    before = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    assert requirements._io_uring_error() in (0, errno.EPERM, errno.ENOSYS)
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_why_not_says_that_the_lock_is_in_the_way(write, monkeypatch):
    """A framework for free threading: the version alone does not do."""
    server = catalog.read(write(BLOCK.replace("# notes", "# free_threaded = true\n# notes")))
    here = "{}.{}.{}".format(*sys.version_info[:3])
    reason = f"needs free-threaded Python >=3.11; this is {here}"
    for free, expected in ((0, reason), (None, reason), (1, "")):
        monkeypatch.setattr(sysconfig, "get_config_var", lambda name, free=free: free)
        assert requirements.why_not_runnable(server) == expected


def test_what_is_to_be_installed_goes_where_the_suite_runs(tmp_path, monkeypatch):
    """In an environment that is not activated a bare pip would install elsewhere."""
    venv = tmp_path / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "pip").touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(venv / "python"))
    assert paths.pip_install("uv") == ".venv/bin/python -m pip install uv"
    monkeypatch.setenv("PATH", str(venv))
    assert paths.pip_install("uv") == "pip install uv"


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ('start = ["node", "x.js"]', "no program: node is not on PATH (apt-get install nodejs)"),
        ('start = ["odd-one"]', "no program: odd-one is not on PATH (apt-get install odd-one)"),
        (
            'build = ["go", "build"]\nstart = ["{out}"]',
            "no compiler: go is not on PATH (apt-get install golang-go)",
        ),
        (f'start = ["{sys.executable}", "-c", "pass"]', ""),
    ],
)
def test_why_not_names_the_program_that_is_missing(commands, reason, tmp_path, monkeypatch):
    """Whatever starts or builds a server, its absence is one line with what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "other_language.toml"
    table = '[tool.c10k]\ntitle = "x"\nmodel = "x"\nunit = "x"\ntier = "variant"\n'
    path.write_text(table + commands)
    assert requirements.why_not_runnable(catalog.read(path)) == reason


def test_versions_and_notes_are_those_of_this_interpreter(write):
    """A row records what ran, and carries only the remarks that apply."""
    server = catalog.read(write(BLOCK))
    assert requirements.versions(server).keys() == {"packaging"}
    assert requirements.notes(server) == ("a remark",)
    curio = catalog.read(paths.SERVERS / "curio_sockets.py")
    assert bool(requirements.notes(curio)) == (sys.version_info >= (3, 12))
