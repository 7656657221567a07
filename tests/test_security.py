"""Guards what SECURITY.md promises: strangers' text is text, nothing leaves its folder, nothing
private is published, and what is exposed or run is told first."""

import csv
import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import made
import pytest
from command import c10k
from markdown_it import MarkdownIt
from msgspec.structs import replace
from packaging.requirements import Requirement
from recorded import histogram
from rich.console import Console

from c10k import cli, launch, paths
from c10k.declare import catalog, choosing
from c10k.judge import judge
from c10k.model import ClaimPart, ClaimsHead, Latency, Note, Outcome
from c10k.render import export, html, markdown, progress, terminal, verdicts
from c10k.run import store

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</title></style></svg><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "a|b\n\n# heading\n| c |",
    "\x1b[2J\x1b]0;title\x07\x9b31m\u202eevil\u2066\x00",
    "=HYPERLINK(1)",
)


def hostile(nasty):
    """A session in which a stranger said it in every place there is."""
    name = f"x_{nasty}"
    latency = Latency(20_000, 1e3, 1.5e3, 2e3, None, 2.5e3, histogram([10**6] * 200))

    def measure(trial):
        if trial.server == "beta" and trial.block:
            return made.failed(trial, nasty)
        return made.ok(
            trial, latency=latency, notes=(nasty,), versions={nasty: nasty}, errors={nasty: 3},
            gates=(made.gate("others", nasty),) * (trial.load.clients == 10),
            python=nasty, pinned=f"not pinned {nasty}",
        )  # fmt: skip

    texts = {"title": nasty, "model": nasty, "unit": nasty, "notes": (Note("", nasty),)}
    loads = [made.load(10), made.load(20), made.load(30), made.load(10, kind="storm")]
    session = made.session((name, "beta"), loads, 3, measure, control=True, **{name: texts})
    workload = replace(session.plan.workload, title=nasty)
    return replace(
        session,
        plan=replace(session.plan, workload=workload),
        environment={"cpu": {"model": nasty}, nasty: {nasty: [nasty]}},
        mixed=(nasty,),
    )


def claimed(nasty):
    """Outcomes of a claim by the same stranger."""
    head = ClaimsHead(1, nasty, nasty, True, nasty, {"python": {"version": nasty}})
    outcome = Outcome(nasty, nasty, nasty, nasty, "refuted", (ClaimPart(nasty, "refuted"),), nasty)
    return verdicts.Outcomes(nasty, head, (outcome,))


class Elements(HTMLParser):
    """The tags of a page, the names of their attributes and the addresses in them."""

    def __init__(self, page):
        super().__init__()
        self.scripts, self.attributes, self.links = [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.attributes |= {name for name, _ in attributes}
        self.links += [value for name, value in attributes if name in ("href", "src", "action")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.scripts and self.get_starttag_text().startswith("<script"):
            self.scripts[-1] += data


@pytest.mark.parametrize("nasty", HOSTILE)
def test_a_page_has_one_script_its_own(nasty):
    """A stranger adds no script, handler or link; the page's policy allows one script by digest."""
    parts = [
        html.PageSession(nasty, each, judge(each)) for each in (hostile(nasty), hostile("tame"))
    ]
    page = html.render(parts, [nasty], claimed(nasty))
    found, tame = Elements(page), Elements(html.render(parts[1:]))
    assert len(found.scripts) == 1
    assert not {name for name in found.attributes if name.startswith("on")}
    assert {link for link in found.links if not link.startswith("#")} == {"data:,"}
    assert found.attributes == tame.attributes
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", page)
    assert not set("\x1b\x9b\x00\u202e\u2066") & set(page)


@pytest.mark.parametrize("nasty", HOSTILE)
def test_markdown_has_no_markup_of_a_stranger(nasty):
    """In a common Markdown parser: no raw HTML, link, table or heading but the suite's own."""
    parser = MarkdownIt("commonmark").enable("table")
    shown, tame = (judge(hostile(each)) for each in (nasty, "tame"))
    for text, plainly in (
        (markdown.render(shown), markdown.render(tame)),
        (verdicts.as_markdown(claimed(nasty)), verdicts.as_markdown(claimed("tame"))),
    ):
        tokens, expected = (
            [
                each.type
                for token in parser.parse(document)
                for each in (token, *(token.children or ()))
                if not each.type.startswith("text")
            ]
            for document in (text, plainly)
        )
        assert tokens == expected


@pytest.mark.parametrize("nasty", HOSTILE)
def test_a_terminal_is_told_nothing_but_text(nasty):
    """No escape sequence, no turn of direction, no line of its own: tables, claims, progress."""
    session = hostile(nasty)
    judged = judge(session)
    out = io.StringIO()
    console = Console(file=out, width=2000, force_terminal=True, color_system=None)
    console.print(terminal.render(judged))
    console.print(verdicts.on_terminal(claimed(nasty)))
    for terminal_here in (True, False):
        there = Console(file=out, width=2000, force_terminal=terminal_here, color_system=None)
        lines = progress.Lines(there, 1, 1, 1.0)
        lines.before(session.measurements[0].trial)
        for measurement in session.measurements:
            lines.after(measurement)
    own = re.sub(r"\x1b\[[\d;]*[A-Z]|\x1b\[\d?K|\r", "", out.getvalue())  # moves of the bar
    assert all(line.isprintable() for line in own.split("\n"))


def test_a_spreadsheet_computes_nothing():
    """A cell of text that begins like a formula gets an apostrophe; figures stay as they are."""
    nasty = replace(hostile("=1+1"), environment={})
    (text,) = export.rows_as_csv(nasty, judge(nasty)).values()
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]
    assert "'=1+1" in cells
    kept = ("-3.2", "-1,024", "1e-05", "-", "a=b")
    assert [export.cell(each) for each in (*kept, -1, None)] == [
        "-3.2", "-1,024", "1e-05", "'-", "a=b", -1, None,
    ]  # fmt: skip


# -- folders -------------------------------------------------------------------------------


def edited(folder, **changes):
    """The session's head with other values: key__of__nested → value."""
    head = json.loads((folder / store.HEAD).read_text())
    for path, value in changes.items():
        at = head
        *inner, last = [int(key) if key.isdecimal() else key for key in path.split("__")]
        for key in inner:
            at = at[key]
        at[last] = value
    (folder / store.HEAD).write_text(json.dumps(head))


WAYS_OUT = ("../x", "/etc/x", "a/b", "..", ".", "", "a\0b", "a\nb", "\x1b[2J", "x" * 201)


@pytest.mark.parametrize("name", WAYS_OUT)
@pytest.mark.parametrize("place", ["plan__servers__0__name", "plan__workload__name"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, place, name):
    """Names become parts of files' names: a session with such a one is not read."""
    folder = made.kept(tmp_path / "s", made.session())
    edited(folder, **{place: name})
    with pytest.raises(store.StoreError, match=r"session\.json: "):
        store.load(folder)


@pytest.mark.parametrize("name", ["x" * 200, "世" * 200, "..x"[2:], "a\\b", "x_" + "<" * 90])
def test_a_log_stays_in_its_folder_however_long_its_name(tmp_path, name):
    """What names may be: a log's name fits a file system, one a trial."""
    trials = made.session([name, "beta"]).plan.trials
    for trial in trials:
        (tmp_path / trial.log).write_text("")
    assert len(list(tmp_path.iterdir())) == len(trials)


@pytest.mark.parametrize("form", sorted(export.FORMATS))
def test_an_export_stays_in_its_folder(tmp_path, form):
    """Whatever an environment and names say, no file is written outside of --out."""
    session = replace(
        hostile("..evil"),
        environment={
            "system": {"platform": "../../up"},
            "python": {"implementation": "/abs", "version": "../3"},
        },
    )
    measured = [replace(m, started_at=session.started_at) for m in session.measurements]
    folder = made.kept(tmp_path / "s", replace(session, measurements=tuple(measured)))
    out = tmp_path / "deep" / "er" / "out"
    c10k("export", folder, "--format", form, "--out", out)
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files
    assert all(path.is_relative_to(out) or path.is_relative_to(folder) for path in files)


def test_to_show_a_session_reads_and_runs_none_of_its_servers(tmp_path, monkeypatch, capsys):
    """show, report, compare and export never look at the files that a plan names."""
    folder = made.kept(tmp_path / "s", made.session())
    trap = tmp_path / "trap.py"
    trap.write_text("raise SystemExit('run')")
    edited(folder, plan__servers__0__path=str(trap), plan__servers__1__start=["touch", "/tmp/no"])

    def never(*words):
        raise AssertionError(f"looked at {words}")

    for module, name in ((paths, "file_of"), (paths, "sources"), (launch, "command")):
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr(subprocess, "Popen", never)
    for words in (
        ["show", str(folder)],
        ["compare", str(folder), str(folder)],
        ["report", str(folder)],
        ["export", str(folder), "--format", "csv"],
    ):
        monkeypatch.setattr(sys, "argv", ["c10k", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 0, capsys.readouterr()


def test_to_resume_a_strangers_session_says_first_what_it_runs(tmp_path):
    """The plan's commands and files that are not the suite's are named before they start."""
    session = made.session(["alpha", "threads_sockets"], [made.load(1)], 1)
    folder = made.kept(tmp_path / "s", replace(session, measurements=()))
    marks = [tmp_path / "built", tmp_path / "run"]
    edited(
        folder,
        plan__servers__0__path=str(tmp_path / "a.toml"),
        plan__servers__0__build=["touch", str(marks[0])],
        plan__servers__0__start=["touch", str(marks[1])],
        plan__servers__1__path="servers/threads_sockets.py",
    )
    said = c10k("run", "--resume", folder, code=2).stdout.splitlines()
    assert said == [
        f"! the session contains a command, which is run: alpha: touch {marks[0]}; touch {marks[1]}"
    ]
    own = choosing.choose(["threads_sockets", "@floor"], catalog.known().servers)
    assert choosing.untrusted_commands(own) == []
    assert choosing.untrusted_commands(choosing.on_each(own, ["3.13", "3.13t"])) == []
    moved = choosing.on_each(own, [sys.executable])
    (said,) = choosing.untrusted_commands(moved)
    assert said.startswith("threads_sockets: install; ")
    assert said.endswith(" servers/threads_sockets.py")
    (said,) = choosing.untrusted_commands(
        choosing.choose(["trio_streams@trio==0.24"], catalog.known().servers)
    )
    assert said.startswith("trio_streams@trio==0.24: install trio==0.24; ")


def test_a_changed_hook_is_a_command_of_the_session():
    """A plan that names the suite's server with another hook or base says what it would run."""
    (known,) = choosing.choose(["trio_streams_tuned"], catalog.known().servers)
    assert choosing.untrusted_commands([known]) == []
    for changed in (replace(known, hook="/tmp/bad.py"), replace(known, base="/tmp/bad.py")):
        (said,) = choosing.untrusted_commands([changed])
        assert said == f"trio_streams_tuned: python {changed.base} {changed.hook}"


@pytest.mark.parametrize("word", ["{0.__class__}", "{here.parent}", "{", "{x}", "{}", "%s"])
def test_a_commands_braces_read_nothing(tmp_path, word):
    """Only the named places are filled in; anything else stays as it was written."""
    table = '[tool.c10k]\ntitle="t"\nmodel="m"\nunit="u"\ntier="variant"\n'
    (tmp_path / "mine.toml").write_text(
        table + f"start=['true', '{word}', '{{here}}', '{{{{a}}}}']\n"
    )
    server = catalog.read(tmp_path / "mine.toml")
    assert launch.command(server) == ["true", word, str(tmp_path), "{a}"]


# -- what is published ---------------------------------------------------------------------

SERVER = (paths.SERVERS / "asyncio_streams.py").read_text()


@pytest.mark.unmeasured
def test_what_is_published_names_no_home_user_host_or_variable(tmp_path):
    """A session of a server under the home folder that says on standard error all it knows."""
    home = tmp_path / "home" / "somebody"
    home.mkdir(parents=True)
    said = "import os, sys\nprint(__file__, os.path.expanduser('~/x'), file=sys.stderr)\n"
    (home / "chatty.py").write_text(
        SERVER.replace("import asyncio\n", said + "import asyncio\n", 1)
    )
    (home / "broken.py").write_text(
        SERVER.replace("import asyncio\n", "raise OSError(__file__)\n", 1)
    )
    (home / "w.toml").write_text(
        'title="t"\nservers=["x"]\nblocks=1\ncontrol=false\n'
        '[[load]]\nkind="closed"\nclients=2\nwarmup_s=0.1\nduration_s=0.2\n'
    )
    environment = {
        "HOME": str(home), "USER": "somebody", "LOGNAME": "somebody", "SECRET": "hush-hush",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }  # fmt: skip
    servers = [home / "chatty.py", home / "broken.py", f"cat=cat {home}/w.toml"]
    c10k("run", home / "w.toml", "--unchecked", "--out", home / "s", "--servers", *servers,
         environment=environment, cwd=home)  # fmt: skip
    texts = {path: path.read_text() for path in (home / "s").rglob("*") if path.is_file()}
    assert "~/chatty.py" in texts[home / "s" / "session.json"]
    assert "{home}/w.toml" in texts[home / "s" / "session.json"]
    assert "OSError: ~/broken.py" in texts[home / "s" / "trials.jsonl"]
    assert any(path.suffix == ".log" and "~/x" in text for path, text in texts.items())
    for path, text in texts.items():
        for private in (str(home), "somebody", "hush-hush", "SECRET"):
            assert private not in text, path
        host = re.escape(platform.node() or "\0")  # as a word: histograms are in base64
        assert not re.search(rf"(?<![\w+/=]){host}(?![\w+/=])", text), path
    loaded = store.load(home / "s")
    assert {m.trial.server: m.status for m in loaded.measurements} == {
        "chatty": "ok", "broken": "failed", "cat": "failed",
    }  # fmt: skip


def test_a_path_under_home_is_found_again(monkeypatch, tmp_path):
    """~ stands for the home folder of whoever reads; a like-named folder beside it does not."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    inside, beside = tmp_path / "me" / "x.py", tmp_path / "meadow" / "x.py"
    assert paths.name_of(inside) == "~/x.py"
    assert paths.file_of("~/x.py") == inside
    assert paths.name_of(beside) == str(beside)
    assert paths.hide_home(f"File '{inside}', {beside}") == f"File '~/x.py', {beside}"
    monkeypatch.setenv("HOME", "/")
    assert paths.hide_home("/x / y") == "/x / y"


# -- networks ------------------------------------------------------------------------------


def test_another_address_than_loopback_says_what_it_exposes():
    """serve --bind says so in one line; on loopback it says nothing."""
    command = [sys.executable, "-m", "c10k", "serve", "asyncio_streams", "--bind"]
    for bind, told in (("0.0.0.0:0", 1), ("127.0.0.1:0", 0)):
        with subprocess.Popen(
            [*command, bind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as serving:
            try:
                assert "serves" in serving.stdout.readline()
                if told:
                    assert "anyone who can reach 0.0.0.0" in serving.stderr.readline()
                serving.send_signal(signal.SIGINT)
                assert serving.communicate(timeout=20)[1] == ""
            finally:
                serving.kill()  # else a failure would wait for it without end
    assert launch.exposure(("::1", 1, 0, 0)) == launch.exposure("/a/socket") == ""
    assert "fe80::1%eth0" in launch.exposure(("fe80::1%eth0", 1))


def test_workloads_and_sessions_have_no_address():
    """Nothing that is read of a file says where to listen or whom to load."""
    fields = {
        *made.workload(["a"], [made.load()]).__struct_fields__,
        *made.load().__struct_fields__,
    }
    assert not fields & {"bind", "host", "address", "port", "path", "sources"}


def test_the_client_says_when_it_loads_another_machine():
    """One line on standard error, and none for this machine's loopback."""
    from echo_client import network_warning
    from plan import Plan

    assert network_warning(Plan(port=1)) == network_warning(Plan(host="::1", port=1)) == ""
    assert network_warning(Plan(host="localhost", port=1)) == network_warning(Plan(path="/a")) == ""
    for host in ("192.0.2.1", "example.org", "::", "0.0.0.0"):
        assert host in network_warning(Plan(host=host, port=1))


# -- dependencies --------------------------------------------------------------------------


def test_every_dependency_has_an_upper_bound():
    """A new major version does not come by itself, but for contenders, where the file says why."""
    contenders = {
        Requirement(each).name.lower()
        for server in catalog.known().servers
        for each in server.dependencies
    }
    groups = (
        PROJECT["dependencies"],
        *PROJECT["optional-dependencies"].values(),
        *PYPROJECT["dependency-groups"].values(),
    )
    named = (each for group in groups for each in group if isinstance(each, str))
    for requirement in map(Requirement, named):
        operators = {each.operator for each in requirement.specifier}
        bounded = operators & {"<", "<=", "==", "~="}
        assert bounded or requirement.name.lower() in {*contenders, PROJECT["name"]}, requirement
    assert "# No upper bound for contenders: " in (ROOT / "pyproject.toml").read_text()
