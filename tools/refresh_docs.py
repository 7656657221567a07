"""Writes what README and docs quote: tables from the reference sessions, a server's source.

A quoted part is between `<!-- KIND: PATH -->` and `<!-- end -->`; none of its figures is typed
by hand. The headline session is also published as a page and as a picture, and that of the
interpreters as a picture. These carry the digest of the session that they were made from, and
are stale when the session has another.

  python tools/refresh_docs.py           writes all of them again
  python tools/refresh_docs.py --check   changes nothing; exits with 1 when one is stale
"""

import hashlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from c10k import claims
from c10k.judge import figures, judge
from c10k.model import Measurement
from c10k.render import html, markdown, pictures, verdicts
from c10k.render.numbers import UNKNOWN, significant
from c10k.render.sentences import footers
from c10k.render.sentences import heading as table_heading
from c10k.render.table import by_interpreter
from c10k.run import store
from c10k.text import on_interpreter

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks" / "instrument"), str(ROOT / "tools")]
import answers  # noqa: E402 - it renders what docs/questions.md quotes
import chosen  # noqa: E402 - it renders the tables with one line for each server
import tables as instrument  # noqa: E402 - it renders the results of benchmarks/instrument
from tables import grid  # noqa: E402

HEADLINE = ROOT / "results" / "reference-c10k"
CAPACITY = ROOT / "results" / "reference-capacity"
INTERPRETERS = ROOT / "results" / "reference-interpreters"
CLAIMS = ROOT / "results" / "reference-claims"
WITH_PYTANGO = "tox -e micro -x testenv:micro.extras+=pytango"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])
_PART = re.compile(r"(<!-- (\w+): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(path: Path) -> str:
    """A session's tables as Markdown."""
    return markdown.render(judge(store.load(path)))


def interpreters(path: Path) -> str:
    """What each interpreter of a session is, and each server's figures on them side by side."""
    judged = judge(store.load(path))
    called = {
        row.interpreter: on_interpreter(row.python, row.build, row.gil)
        for row in judged.rows
        if row.interpreter and row.python
    }
    parts = [f"{table_heading(judged)}.", "", *(f"- {line}" for line in judged.warnings)]
    parts += [f"- {label}: Python {words}" for label, words in called.items()]
    for each in by_interpreter(judged):
        parts += ["", f"{each.title}.", "", markdown.grid(each).rstrip()]
    parts += ["", *(line for line in footers(judged) if line.startswith("Without the lock"))]
    return "\n".join(parts) + "\n"


def source(path: Path) -> str:
    """A whole source file as a code block."""
    return f"```python\n{path.read_text()}```\n"


def cost(path: Path) -> str:
    """The output of `benchmarks/instrument/client_cost.py --json` as a table."""
    headings = (
        "connections",
        "inner loops",
        "client µs/message",
        "minimal client µs/message",
        "ratio",
        "B/connection",
    )
    rows = [
        (
            f"{row['clients']:,}",
            row["loops"],
            f"{row['client_cpu_us_per_message']:.2f}",
            f"{row['minimal_cpu_us_per_message']:.2f}",
            f"{row['ratio']:.2f} ({row['ratio_least']:.2f} to {row['ratio_greatest']:.2f})",
            f"{row['client_bytes_per_connection']:,.0f}",
        )
        for row in json.loads(path.read_text())["rows"]
    ]
    return grid(headings, rows, "rlrrrr")


def claimed(path: Path) -> str:
    """The outcomes of `c10k claims`."""
    return verdicts.as_markdown(verdicts.Outcomes(path.name, *claims.load(path)))


def stored(path: Path) -> dict[str, Any]:
    """The newest file in a storage of pytest-benchmark."""
    found: dict[str, Any] = json.loads(max(path.glob("*/*.json")).read_text())
    return found


def medians(path: Path) -> str:
    """What `tox -e micro` stored: one line per primitive, microseconds per framework."""
    found: dict[str, dict[str, str]] = {}
    generators: dict[str, str] = {}
    for each in stored(path)["benchmarks"]:
        median = significant(each["stats"]["median"] * 1e6)
        match each["extra_info"].get("framework"):
            case None:  # no primitives: the planted cost and the trips
                continue
            case "":
                generators[each["group"]] = median
            case name:
                found.setdefault(each["group"], {})[name] = median
    named = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [
        (group, *(row.get(name, "no such thing") for name in named)) for group, row in found.items()
    ]
    of_frameworks = grid(("µs", *named), rows, "l" + "r" * len(named))
    return of_frameworks + "\n" + grid(("µs", "generators"), generators.items(), "lr")


def units(path: Path) -> str:
    """What `tox -e micro` stored of memory: bytes per waiting unit, and the kernel's stacks."""
    rows = [
        (
            about["framework"],
            f"{about['bytes_per_unit']:,.0f}",
            f"{about['kernel_stack_bytes_per_unit']:,.0f}",
        )
        for about in (each["extra_info"] for each in stored(path)["benchmarks"])
        if "bytes_per_unit" in about
    ]
    return grid(("framework", "bytes a unit", "kernel stack"), rows, "lrr")


def trips(path: Path) -> str:
    """What `tox -e micro` stored of trips.py: microseconds a round trip, by callers at once."""
    found: dict[str, dict[int, str]] = {}
    for each in stored(path)["benchmarks"]:
        about = each["extra_info"]
        if "trip" in about:
            median = significant(each["stats"]["median"] * 1e6)
            found.setdefault(about["trip"], {})[about["callers"]] = median
    if not found:
        return f"Not measured yet: `{WITH_PYTANGO}`.\n"
    counts = sorted({callers for row in found.values() for callers in row})
    headings = ("µs a round trip", *(f"{callers} at once" for callers in counts))
    rows = [
        (title, *(row.get(callers, UNKNOWN) for callers in counts)) for title, row in found.items()
    ]
    return grid(headings, rows, "l" + "r" * len(counts))


def faults(path: Path) -> str:
    """Each fault with what the suite promises and what was observed."""
    rows = json.loads(path.read_text())["faults"]
    return grid(("fault", "promise", "seen"), [map(markdown.escape, row) for row in rows])


def soak(path: Path) -> str:
    """Memory, descriptors and threads of engine and client at both ends of a long session."""
    found = json.loads(path.read_text())
    rows = []
    for who in [key for key, value in found.items() if isinstance(value, dict)]:
        first, last = found[who]["memory_bytes"]
        counts = [
            f"{found[who][name][0]:.0f} → {found[who][name][1]:.0f}"
            for name in ("descriptors", "threads")
        ]
        rows.append((who, f"{first / 2**20:.1f} → {last / 2**20:.1f}", *counts))
    told = f"{found['minutes']:g} minutes, {found['trials']} trials, {found['left_running']} left"
    return f"{told}\n\n" + grid(("process", "memory, MiB", "descriptors", "threads"), rows)


def compared(path: Path) -> str:
    """One of the tables that `pytest-benchmark compare` prints of what `tox -e micro` stored."""
    says = subprocess.run(
        [
            *(sys.executable, "-m", "pytest_benchmark", f"--storage=file://{path}", "compare"),
            *("--group-by=group", "--columns=min,median,iqr,rounds", "--sort=min"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    ).stdout
    tables = re.split(r"\n(?=-+ benchmark)", says)
    (chosen,) = [table for table in tables if "switch to another unit" in table.partition("\n")[0]]
    lines = [line.rstrip() for line in chosen.strip().splitlines()]
    last = max(index for index, line in enumerate(lines) if line.startswith("---"))
    return "```text\n" + "\n".join(lines[: last + 1]) + "\n```\n"


MANY = 1_000_000  # the connections that docs/scale.md plans
PER_SECOND = 100_000  # messages/s of all of them: each sends one every ten seconds
CLIENT_HOSTS = 4
PORTS = {"default range, 32768 to 60999": 28_232, "widened to 1024 to 65535": 64_512}


def held(path: Path) -> list[Measurement]:
    """The trials of a session of holding.toml in which every client was served."""
    return [m for m in store.load(path).measurements if m.status == "ok" and m.served]


def median(values: Iterable[float | None]) -> float:
    """The median of the known values."""
    return statistics.median(value for value in values if value is not None)


def slab_bytes(trial: Measurement) -> float | None:
    """The kernel's memory for one end of a connection; both ends were on one machine."""
    before, after = (
        held.slab_bytes if held else None for held in (trial.server.before, trial.server.after)
    )
    if before is None or after is None or not trial.served:
        return None
    return (after - before) / trial.served / 2


def million(path: Path) -> str:
    """A million connections on the server's host, computed from measurements, by server."""
    trials, gib = held(path), 2**30
    kernel = median(map(slab_bytes, trials))
    loaded = {
        row.server: row.server_cpu_us_per_message
        for row in judge(store.load(HEADLINE)).rows
        if row.clients == 10_000 and row.load.facts.closed_loop
    }
    headings = (
        "server",
        "its own KiB a client",
        "GiB with the kernel's part",
        "connects/s",
        "minutes to connect",
        "CPU µs/message",
        f"cores at {PER_SECOND:,}/s",
    )
    rows = []
    for server in dict.fromkeys(m.trial.server for m in sorted(trials, key=lambda m: m.trial.key)):
        mine = [m for m in trials if m.trial.server == server]
        own = median(map(figures.own_memory_per_client_bytes, mine))
        rate = median(m.served / m.connect_s for m in mine if m.served and m.connect_s)
        busy = loaded.get(server)
        cost = busy.median if busy else None
        rows.append(
            (
                server,
                f"{own / 1024:.1f}",
                f"{(own + kernel) * MANY / gib:.1f}",
                f"{rate:,.0f}",
                f"{MANY / rate / 60:.1f}",
                f"{cost:.1f}" if cost else UNKNOWN,
                f"{cost * PER_SECOND / 1e6:.1f}" if cost else UNKNOWN,
            )
        )
    return grid(headings, rows, "lrrrrrr")


def crowd(path: Path) -> str:
    """The same million connections on the clients' hosts."""
    trials = held(path)
    worker = median(m.client_bytes_per_connection for m in trials)
    costs = json.loads((ROOT / "results" / "reference-client-cost.json").read_text())["rows"]
    cost = next(r["client_cpu_us_per_message"] for r in costs if r["clients"] == 10_000)
    each = MANY / CLIENT_HOSTS
    rows = [
        (
            what,
            f"{size / 1024:.1f} KiB",
            f"{size * MANY / 2**30:.1f} GiB",
            f"{size * each / 2**30:.1f} GiB",
        )
        for what, size in (
            ("worker's memory", worker),
            ("kernel's memory", median(map(slab_bytes, trials))),
        )
    ]
    rows.append(("descriptors", "1", f"{MANY:,}", f"{each:,.0f}"))
    rows += [
        (
            f"source addresses, {name}",
            f"1/{ports:,}",
            str(math.ceil(MANY / ports)),
            str(math.ceil(each / ports)),
        )
        for name, ports in PORTS.items()
    ]
    rows.append(
        (
            f"cores at {PER_SECOND:,} messages/s",
            f"{cost:.1f} µs a message",
            f"{cost * PER_SECOND / 1e6:.1f}",
            f"{cost * PER_SECOND / CLIENT_HOSTS / 1e6:.1f}",
        )
    )
    headings = ("of the clients", "of one", "of a million", f"on each of {CLIENT_HOSTS} hosts")
    return grid(headings, rows, "lrrr")


def through_dask(path: Path) -> str:
    """The output of `benchmarks/instrument/cluster_cost.py --json` as a table."""
    headings = ("figure", "the same load", "ratio", "verdict", "blocks", "starts within ms")
    rows = [
        (
            row["figure"],
            f"{row['variant']} to {row['against']}",
            f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            row["verdict"],
            str(row["blocks"]),
            UNKNOWN if row["start_spread_ms"] is None else f"{row['start_spread_ms']:.1f}",
        )
        for row in json.loads(path.read_text())["rows"]
    ]
    return grid(headings, rows, "llrlrr")


KINDS = {
    "million": million,
    "crowd": crowd,
    "cluster": through_dask,
    "table": table,
    "interpreters": interpreters,
    "source": source,
    "cost": cost,
    "claims": claimed,
    "micro": medians,
    "units": units,
    "trips": trips,
    "answer": answers.answer,
    "compared": compared,
    "faults": faults,
    "soak": soak,
    **chosen.KINDS,
    **instrument.KINDS,
}


def digest(session: Path) -> str:
    """The digest of everything that was measured in a session, and for the claims."""
    files = (session / store.TRIALS, CLAIMS / claims.FILE)
    content = b"".join(file.read_bytes() for file in files if file.exists())
    return f"<!-- of {hashlib.sha256(content).hexdigest()} -->"


def page(path: Path) -> str:
    """The report page of a session."""
    session = store.load(path)
    outcomes = verdicts.Outcomes(CLAIMS.name, *claims.load(CLAIMS))
    return html.render([html.PageSession(path.name, session, judge(session))], (), outcomes)


def picture(name: str) -> Callable[[Path], str]:
    """Makes a session's picture of that name so that it does not rely on the page's colours."""

    def drawn(path: Path) -> str:
        session = store.load(path)
        found = {each.name: each.svg for each in pictures.pictures(session, judge(session))}
        return found[name].replace("currentColor", "#333").replace("transparent", "white")

    return drawn


def made_of(target: Path, session: Path) -> bool:
    """Whether a published file was made from this session."""
    return target.exists() and digest(session) in target.read_text(encoding="utf-8")


PUBLISHED = {
    ROOT / "docs" / "c10k.html": (page, HEADLINE),
    ROOT / "docs" / "c10k.svg": (picture("throughput"), HEADLINE),
    ROOT / "docs" / "capacity.svg": (picture("over-load"), CAPACITY),
    ROOT / "docs" / "free-threading.svg": (picture("interpreters"), INTERPRETERS),
}


def refreshed(text: str) -> str:
    """The page with every quoted part written again."""

    def part(match: re.Match[str]) -> str:
        start, kind, path, end = match.groups()
        return start + KINDS[kind](ROOT / path) + end

    return _PART.sub(part, text)


def main() -> int:
    checking = "--check" in sys.argv[1:]
    stale = [page for page in PAGES if refreshed(page.read_text()) != page.read_text()]
    for page in stale:
        if not checking:
            page.write_text(refreshed(page.read_text()))
    for target, (make, session) in PUBLISHED.items():
        if not made_of(target, session):
            stale.append(target)
        if not checking:
            target.write_text(f"{make(session)}{digest(session)}\n", encoding="utf-8")
    for each in stale if checking else ():
        print(f"{each.relative_to(ROOT)} is stale: python tools/refresh_docs.py")
    return 1 if stale and checking else 0


if __name__ == "__main__":
    sys.exit(main())
