"""Writes what README and docs quote: tables from the reference sessions, a server's source.

A quoted part stands between `<!-- KIND: PATH -->` and `<!-- end -->`; no figure in it is
typed by hand.

  python docs/refresh.py           writes them anew
  python docs/refresh.py --check   changes nothing; exits with 1 when one is stale
"""

import json
import re
import sys
from pathlib import Path

from c10k import judge, store
from c10k.render import markdown

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md")])
_PART = re.compile(r"(<!-- (\w+): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(path: Path) -> str:
    """A session's table."""
    return markdown.render(judge.judge(store.load(path)))


def source(path: Path) -> str:
    """A file, whole."""
    return f"```python\n{path.read_text()}```\n"


def cost(path: Path) -> str:
    """What benchmarks/instrument/client_cost.py --json printed."""
    lines = [
        "| connections | client µs/message | C client µs/message | ratio | B/connection |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in json.loads(path.read_text())["rows"]:
        lines.append(
            f"| {row['clients']:,} | {row['client_cpu_us_per_message']:.2f} "
            f"| {row['c_client_cpu_us_per_message']:.2f} "
            f"| {row['ratio']:.2f} ({row['ratio_least']:.2f} to {row['ratio_greatest']:.2f}) "
            f"| {row['client_bytes_per_connection']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def truth(path: Path) -> str:
    """What benchmarks/instrument/ground_truth.py --json printed."""
    lines = [
        "| case | figure | predicted µs | reported µs | error µs | error less the way µs |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in json.loads(path.read_text())["rows"]:
        cells = [
            "–" if row.get(key) is None else f"{row[key]:,.0f}"
            for key in ("predicted_us", "reported_us", "error_us", "error_without_way_us")
        ]
        lines.append(f"| {row['case']} | {row['figure']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def power(path: Path) -> str:
    """What benchmarks/instrument/power.py --judge printed."""
    report = json.loads(path.read_text())
    lines = [
        f"{report['trials']:,} trials, {report['gated']} of them gated; the reference needs "
        f"{report['cost_ns'] / 1000:.2f} µs of CPU per message, and one block's ratio of two equal "
        f"servers has a standard deviation of {report['noise_of_a_ratio']:.1%}.",
        "",
        "| session | sessions | twin claimed | burn ns | by CPU clock | planted ratio | estimated "
        "| found | covered |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for length in report["lengths"]:
        for planted in length["planted"].values():
            lines.append(
                f"| {length['blocks']} blocks, {length['seconds']:.0f} s | {length['sessions']} "
                f"| {length['twin_claimed']} | {planted['burn_ns']} "
                f"| {planted['burn_by_cpu_clock_ns']:.0f} | {planted['truth']:.3f} "
                f"| {planted['estimated_median']:.3f} | {planted['found']} | {planted['covered']} |"
            )
    return "\n".join(lines) + "\n"


KINDS = {"table": table, "source": source, "cost": cost, "truth": truth, "power": power}


def refreshed(text: str) -> str:
    """The page with every quoted part written anew."""

    def part(match: re.Match[str]) -> str:
        start, kind, path, end = match.groups()
        return start + KINDS[kind](ROOT / path) + end

    return _PART.sub(part, text)


def main() -> int:
    stale = [page for page in PAGES if refreshed(page.read_text()) != page.read_text()]
    for page in stale:
        if "--check" in sys.argv[1:]:
            print(f"{page.relative_to(ROOT)} is stale: python docs/refresh.py")
        else:
            page.write_text(refreshed(page.read_text()))
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
