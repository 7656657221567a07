"""Guards the page: whole, self-contained, limits before numbers, hostile text as text."""

import itertools
import re
import shutil
from html.parser import HTMLParser

import made
import numpy as np
import pytest
from command import c10k
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from recorded import NAMES, histogram, measure, whole

from c10k import claims
from c10k.histograms import intervals
from c10k.judge import judge
from c10k.model import ClaimsHead, Latency, Outcome
from c10k.render import html, looks, numbers, pictures
from c10k.run import store

pytestmark = pytest.mark.once


def page(*sessions):
    parts = [html.PageSession(f"s{i}", each, judge(each)) for i, each in enumerate(sessions)]
    return html.render(parts)


class Outline(HTMLParser):
    """What a page is made of: its tags with their attributes, and whether they are nested right."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere():
    """Tags are nested right; no address is fetched: no src, no href but anchors and data."""
    outline = Outline(page(whole()))
    assert outline.open == []
    for tag, attributes in outline.tags:
        assert "src" not in attributes
        target = attributes.get("href", attributes.get("xlink:href", "#"))
        assert target.startswith(("#", "data:")), (tag, target)
    assert not re.search(r"@import|url\(", page(whole()))


def test_every_picture_says_what_it_shows_and_has_its_table():
    """Pictures of the ladder and of percentiles, each with a text alternative."""
    text = page(whole())
    names = [picture.name for picture in pictures.pictures(whole(), judge(whole()))]
    assert names == [
        "throughput", "latency", "silence", "fairness", "cost", "memory", "percentiles-closed",
    ]  # fmt: skip
    outline = Outline(text)
    described = [a for tag, a in outline.tags if a.get("role") == "img"]
    assert len(described) == len(names)
    assert all(len(each["aria-label"]) > 20 for each in described)
    assert text.count("<table>") == 3  # the loads', the ladder's, and memory's


def test_limits_and_machine_stand_before_the_numbers():
    """Nobody meets a figure before what it does not say."""
    text = page(whole())
    limits = text.index("Limits of these figures")
    assert limits < text.index("<svg") < text.index("<table>")
    assert text.index("cpu.model") < text.index("<svg")


def test_the_verdict_says_what_the_ranks_say():
    """Who was fastest, and who starved clients."""
    said = html.verdict(judge(whole()))
    assert "left clients without an echo for a whole slice" in said
    at = "At 10,000 clients in a closed loop"
    # The control differs twofold from its reference, so only trio's rank is known.
    slower = (
        f"{at} trio_streams was shown to be slower than another server; the others are not told"
    )
    assert slower in said
    rates = {"threads": 200_000, "asyncio": 100_000, "trio": 50_000}

    def measure(trial):
        return made.ok(trial, rate=rates[trial.server.partition("_")[0]] + trial.block)

    apart = html.verdict(judge(whole(measure=measure)))
    assert f"{at} threads_sockets was the fastest in Python." in apart
    rates["asyncio"] = rates["threads"]
    tied = html.verdict(judge(whole(measure=measure)))
    assert "fastest" not in tied
    assert f"{at} trio_streams was shown to be slower" in tied
    quiet = made.session(measure=lambda t: made.ok(t))
    assert "claims no difference" in html.verdict(judge(quiet))


def test_a_framework_looks_the_same_everywhere():
    """One colour and one marker each, whatever else is on the page; no two alike."""
    few, many = looks.looks(["trio"]), looks.looks(["trio", "zeta", "alpha"])
    assert few["trio"] == many["trio"]
    known = [looks.looks([])[name] for name in looks.KNOWN]
    assert len({(look.colour, look.shape) for look in known}) == len(known)
    fifty = looks.looks([f"f{i}" for i in range(50)])
    assert len({(look.colour, look.shape) for look in fifty.values()}) == len(fifty)


def test_several_sessions_stand_side_by_side():
    """What they share is in one table, with a column a session."""
    text = page(whole(), whole(seed=2))
    assert "Side by side" in text
    drawn = re.findall(r'<figure id="(s\d)-(\w+)', text)
    assert drawn[:4] == [
        ("s0", "throughput"),
        ("s1", "throughput"),
        ("s0", "latency"),
        ("s1", "latency"),
    ]


def test_failures_are_shown_as_such():
    """A server that failed has its row, with the reason before it."""

    def fails(trial):
        if trial.server == "trio_streams":
            return made.failed(trial, "9 of 10 clients served <b>")
        return measure(trial)

    text = page(whole(measure=fails))
    assert 'class="failed"' in text
    assert "×: failed, gated or 0, not compared" in text
    assert 'aria-label="trio_streams, 100 clients: failed (0 of 8 blocks good): block 1: ' in text
    assert "9 of 10 clients served &lt;b&gt;" in text


def marks(picture):
    """Its marks by their labels, and the number of points on each line."""
    outline = Outline(picture.svg)
    labels = [a["aria-label"] for _, a in outline.tags if "aria-label" in a]
    lines = [
        len(re.findall(r"[ML]", a["d"]))
        for tag, a in outline.tags
        if tag == "path" and a.get("aria-roledescription") == "line mark"
    ]
    return labels, lines


def test_every_point_is_drawn_and_no_line_runs_through_what_is_not_there():
    """Failed with a figure, failed without, gated, and 0: each with its reason; lines break."""

    def spoilt(trial):
        clients, server = trial.load.clients, trial.server
        if (server, clients, trial.block) == ("asyncio_streams", 100, 0):
            return made.failed(trial, "it was killed")
        if (server, clients) == ("threads_sockets", 10):
            return made.failed(trial, "no thread left")
        if (server, clients) == ("threads_sockets", 1):
            return made.ok(trial, gates=(made.gate("others", "a lot"),))
        if (server, clients) == ("trio_streams", 10_000):
            return made.ok(trial, rate=0.0)
        if (server, clients) == ("trio_streams", 1):
            return made.ok(trial, rate=5.0 if trial.block else 0.0)
        return measure(trial)

    session = whole(measure=spoilt)
    picture = pictures.pictures(session, judge(session))[0]
    labels, lines = marks(picture)
    for said in (
        r"asyncio_streams, 100 clients: 100,000 .* messages/s.*: failed \(7 of 8 .*it was killed",
        r"threads_sockets, 10 clients: failed \(0 of 8 .*no thread left",
        r"threads_sockets, 1 clients: 1,000 .*: gated \(0 of 8 .*others: a lot",
        r"trio_streams, 10,000 clients: 0 \(0 to 0\).*nothing in most blocks",
        r"trio_streams, 1 clients: 5.00 \(0 to 5.00\) messages/s",
    ):
        assert any(re.match(said, label) for label in labels), said
    # asyncio 1, 10 | 10,000; threads 100, 10,000; trio 1, 10, 100
    assert sorted(lines) == [1, 2, 2, 3]


def test_every_line_has_its_name_beside_it_and_no_two_overlap():
    """Also where all lines end at nearly the same figure."""
    for far in (1.0, 1000.0):
        rates = dict(zip(NAMES, (1000.0, 1000.0 * far, 1001.0 * far), strict=True))
        session = whole(measure=lambda t, rates=rates: made.ok(t, rates.get(t.server, 1.0)))
        outline = Outline(pictures.pictures(session, judge(session))[0].svg)
        names = [
            float(re.search(r",([-\d.]+)\)", a["transform"]).group(1))
            for _, a in outline.tags
            if a.get("aria-label") in NAMES and a.get("aria-roledescription") == "text mark"
        ]
        assert len(names) == len(NAMES)
        apart = [below - above for above, below in itertools.pairwise(sorted(names))]
        assert min(apart) >= 11  # px: the size of the letters


def test_percentiles_are_of_each_trial_and_never_pooled():
    """One trial of eight with a long tail moves the range, not the curve; each ends by the rule."""
    load = made.load(100, kind="open", rate=1000.0, arrivals="poisson")
    steady = histogram([1_000_000] * 20_000)
    late = histogram([1_000_000] * 10_000 + [900_000_000] * 10_000)

    def mixed(trial):
        held = late if trial.block == 0 else steady
        return made.ok(trial, latency=Latency(20_000, 1000.0, 1500.0, 2000.0, None, 1.0, held))

    session = made.session(NAMES, (load,), 8, mixed, control=True)
    picture = pictures.pictures(session, judge(session))[0]
    labels, _ = marks(picture)
    (said,) = {label for label in labels if label.startswith("trio_streams, 100 clients, p95:")}
    assert said.endswith("1.00 (1.00 to 900) ms")
    assert any("p99.5:" in label for label in labels)  # 100 of 20,000 beyond
    assert not any("p99.9:" in label for label in labels)  # 20 of them; of all trials 160


def test_a_curve_ends_where_its_intervals_do():
    """Two intervals of thirty hold what is beyond p95: nothing is drawn from there on."""
    counts = np.zeros((30, intervals.BUCKETS), np.int64)
    counts[:, intervals.bucket_of(1_000_000)] = 633
    counts[:2, intervals.bucket_of(50_000_000)] = 500
    values = [1_000_000] * 18_990 + [50_000_000] * 1000
    text, held = intervals.encoded(100_000_000, counts), histogram(values)
    load = made.load(100, kind="open", rate=1000.0, arrivals="poisson")
    session = made.session(
        NAMES,
        (load,),
        3,
        lambda t: made.ok(
            t, latency=Latency(20_000, 1.0, 1.0, 1.0, None, 1.0, held), intervals=text
        ),
    )
    labels, _ = marks(pictures.pictures(session, judge(session))[0])
    assert any("p90:" in label for label in labels)
    assert not any("p97.5:" in label for label in labels)


@settings(max_examples=10)
@given(st.text("<>&\"'/abc{}%", min_size=1, max_size=12))
def test_hostile_text_is_text(nasty):
    """Whatever a file or a server says, it adds no element and no attribute."""

    def fails(trial):
        return made.failed(trial, nasty) if trial.server == "beta" else measure(trial)

    clean = made.session(measure=lambda t: fails(t) if t.server != "beta" else made.failed(t, "x"))
    named = made.session(measure=fails)
    named = replace(named, environment={**named.environment, "note": {nasty: nasty}})
    tags = [tag for tag, _ in Outline(page(named)).tags]
    assert tags.count("script") == 1
    assert len(tags) <= len(Outline(page(clean)).tags) + 3  # the note's own line


def test_a_large_session_is_under_two_megabytes():
    """Fifty servers and twenty counts: still one page."""
    names = [f"server{i}_api" for i in range(50)]
    loads = [made.load(int(1.6**i) + i) for i in range(20)]
    text = page(made.session(names, loads, 1))
    assert len(text.encode()) < 6_000_000
    rows = sum(tag == "tr" for tag, _ in Outline(text).tags)
    assert rows >= 50 * 20


def test_the_command_writes_the_page(tmp_path):
    """Into the session's folder or to --out; a folder without a session is a one-line error."""
    made.kept(tmp_path / "s", whole())
    done = c10k("report", tmp_path / "s")
    assert done.stdout.strip() == str(tmp_path / "s" / "report.html")
    assert (tmp_path / "s" / "report.html").read_text().startswith("<!doctype html>")
    shutil.copytree(tmp_path / "s", tmp_path / "again")
    c10k("report", tmp_path / "s", tmp_path / "again", "--out", tmp_path / "two.html")
    assert "Side by side" in (tmp_path / "two.html").read_text()
    assert len(c10k("report", tmp_path / "none", code=2).stderr.splitlines()) == 1
    nowhere = c10k("report", tmp_path / "s", "--out", tmp_path / "no" / "x.html", code=2)
    assert len(nowhere.stderr.splitlines()) == 1


def test_verdicts_on_claims_stand_on_the_page_with_their_evidence(tmp_path):
    """Each claim with its verdict, its rule and its figures; hostile words are text."""
    store.create(tmp_path / "s", whole()).close()
    claims.keep(tmp_path / "c", ClaimsHead(claims.SCHEMA, "0", "2026-01-01", False, "", {}))
    part = claims.part("<b>it</b> is so", (2.0, 2.1, 2.2), above=1.0)
    outcome = Outcome("it", "<script>claimed</script>", "Look.", "See.", "supported", (part,))
    claims.keep(tmp_path / "c", outcome)
    c10k("report", tmp_path / "s", "--claims", tmp_path / "c")
    text = (tmp_path / "s" / "report.html").read_text()
    assert "<script>claimed" not in text
    assert "&lt;script&gt;claimed" in text
    assert "<b>supported</b>" in text
    assert "&lt;b&gt;it&lt;/b&gt; is so" in text
    missing = c10k("report", tmp_path / "s", "--claims", tmp_path / "none", code=2)
    assert len(missing.stderr.splitlines()) == 1


def test_families_are_named_as_files_are():
    """asyncio_streams and its copies are asyncio."""
    assert [looks.family(n) for n in ("asyncio_streams", "trio-x6", "c")] == [
        "asyncio", "trio", "c",
    ]  # fmt: skip
    assert numbers.UNKNOWN == "–"


@pytest.mark.parametrize("kind", ["storm", "open", "idle", "churn"])
def test_each_kind_of_load_alone_makes_a_page(kind):
    """Nothing is assumed to be there but the session."""
    fields = {"rate": 100.0, "arrivals": "poisson"} if kind == "open" else {}
    session = made.session(loads=[made.load(100, kind=kind, **fields)], measure=measure)
    assert Outline(page(session)).open == []
