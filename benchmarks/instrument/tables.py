"""The stored results of the programs here as Markdown, for their own output and for docs/.

tools/refresh_docs.py quotes these between `<!-- KIND: PATH -->` and `<!-- end -->`, where KIND
is a key of KINDS. For a missing result, the text gives the command that would measure it.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from c10k.model import Ratio
from c10k.render.numbers import SHOWN, UNKNOWN, ratio, scaled

Found = dict[str, Any]


def grid(headings: Sequence[str], rows: Iterable[Iterable[str]], align: str = "") -> str:
    """A Markdown table; align has l or r for each column (default: all l)."""
    ruled = ["---:" if side == "r" else "---" for side in align or "l" * len(headings)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, ruled, *rows))


def kept(path: Path, command: str) -> Found | str:
    """The stored figures, or a line that they are not measured yet."""
    if not path.exists():
        return f"Not measured yet: `python benchmarks/instrument/{command}`.\n"
    found: Found = json.loads(path.read_text())
    return found


def number(value: float | None) -> str:
    """Three significant digits, and always all digits before the point."""
    if value is None:
        return UNKNOWN
    if abs(value) < 1:
        return "0" if value == 0 else f"{float(f'{value:.3g}'):g}"
    return f"{value:,.{max(0, 3 - len(str(int(abs(value)))))}f}"


def where(found: Found) -> str:
    """When and on which machine it was measured."""
    cores = len(found.get("cores") or [])
    told = [
        f"Begun {found.get('started_at', UNKNOWN)}",
        f"{found.get('cpu')}, {cores} cores",
        f"Linux {found.get('kernel')}",
        f"Python {found.get('python')}",
        found.get("pinned") or "not pinned",
    ]
    return f"{'; '.join(told)}.\n\n"


def observer(path: Path) -> str:
    """For each arm: how many figures moved, which ones, and the largest changes."""
    found = kept(path, "observer.py --out results/reference-observer.json")
    if isinstance(found, str):
        return found
    arms = list(dict.fromkeys(row["arm"] for row in found["rows"]))
    counted = {
        arm: Counter(row["verdict"] for row in found["rows"] if row["arm"] == arm) for arm in arms
    }
    verdicts = ("moved", "unmoved", "not resolved")
    engine = found["engine"]
    text = where(found)
    text += f"{found['blocks']} blocks, {found['trials']:,} trials, {found['disturbed']} disturbed"
    text += " by the machine and left out. The engine's own CPU in a slice, of a core: "
    shares = [
        f"{arm} {UNKNOWN if share is None else f'{share:.3%}'}" for arm, share in engine.items()
    ]
    text += f"{', '.join(shares)}.\n\n"
    text += grid(
        ("arm", "figures", *verdicts),
        [
            (arm, str(counted[arm].total()), *(str(counted[arm][each]) for each in verdicts))
            for arm in arms
        ],
    )
    moved = [row for row in found["rows"] if row["verdict"] == "moved"]
    if moved:
        text += "\n" + grid(
            ("moved", "load", "clients", "server", "figure", "plain", "in the arm", "change"),
            [_observed(row) for row in moved],
        )
    most = max((row["clients"] for row in found["rows"]), default=0)
    beside = [
        row
        for row in found["rows"]
        if row["clients"] == most and row["load"].startswith("open") and row.get("low") is not None
    ]
    if beside:
        text += f"\nThe plain suite beside the other arms, open loop, {most:,} clients:\n\n" + grid(
            ("arm", "load", "clients", "server", "figure", "plain", "in the arm", "change"),
            [_observed(row) for row in beside],
        )
    return text


def _observed(row: Found) -> tuple[str, ...]:
    if row["unit"] == "µs":
        change = [number(row[key]) for key in ("change", "low", "high")]
        said = f"{change[0]} µs ({change[1]} to {change[2]})"
    else:
        change = [f"{row[key]:+.1%}" for key in ("change", "low", "high")]
        said = f"{change[0]} ({change[1]} to {change[2]})"
    values = [number(row[key]) for key in ("plain", "other")]
    clients = f"{row['clients']:,}"
    return (row["arm"], row["load"], clients, row["server"], row["figure"], *values, said)


def ground_truth(path: Path) -> str:
    """What was known, and what was measured."""
    found = kept(path, "ground_truth.py --out results/reference-ground-truth.json")
    if isinstance(found, str):
        return found
    headings = (
        "case",
        "figure",
        "predicted",
        "reported",
        "least to greatest",
        "error",
        "less the way",
    )
    lines = []
    for row in found["rows"]:
        spread = f"{number(row['least'])} to {number(row['greatest'])}"
        lines.append(
            (
                row["case"],
                f"{row['figure']}, {row['unit']}",
                number(row["predicted"]),
                number(row["reported"]),
                spread if row["rounds"] > 1 else UNKNOWN,
                number(row["error"]),
                number(row.get("error_without_way")),
            )
        )
    told = f"{found['blocks']} blocks, slices of {found['slice_s']:g} s; "
    told += f"{found['trials']} trials, {found['disturbed']} disturbed by the machine and left out."
    return f"{where(found)}{told}\n\n{grid(headings, lines)}"


def aa(path: Path) -> str:
    """What `c10k compare` claimed about equal sessions."""
    found = kept(path, "aa_sessions.py --out results/reference-aa-sessions.json")
    if isinstance(found, str):
        return found
    headings = ("compared", "pairs", "rows", "judged", "false", "share", "pairs with any",
                "alarms at 5 %", "cannot tell", "so")  # fmt: skip
    lines = []
    for name, way in found["ways"].items():
        share = UNKNOWN
        if way["share"] is not None:
            share = f"{way['share']:.1%} ({way['low']:.1%} to {way['high']:.1%})"
        counts = (way["pairs"], way["rows"], way["judged"], way["false"])
        rest = (way["pairs_with_any"], way["alarms"], way["cannot_tell"])
        lines.append((name, *map(str, counts), share, *map(str, rest), way["verdict"]))
    told = f"{found['sessions']} equal sessions of {found['blocks']} blocks, the first "
    told += f"{found['series']} of them the series, {found['trials']:,} trials; "
    told += f"the last began {found['until']}."
    return f"{where(found)}{told}\n\n{grid(headings, lines)}"


def slices(path: Path) -> str:
    """Known round trips, and the rates that were measured."""
    found = kept(path, "slices.py --out results/reference-slices.json")
    if isinstance(found, str):
        return found
    headings = ("round trip s", "answers", "clients", "slice s", "expected/s", "measured/s",
                "worst error", "Little", "within 2 %")  # fmt: skip
    lines = []
    for row in found["rows"]:
        why = ["; ".join(row["reasons"] + row["gates"])] if row["reasons"] + row["gates"] else []
        cut = f" (at its ceiling of {row['ceiling_s']:g})" if row["at_ceiling"] else ""
        worst = UNKNOWN if row["worst_error"] is None else f"{row['worst_error']:+.2%}"
        lines.append(
            (
                f"{row['round_trip_s']:g}",
                row["how"],
                f"{row['clients']:,}",
                number(row["slice_s"]) + cut,
                number(row["expected_per_s"]),
                number(row["measured_per_s"]),
                worst,
                number(row["little"]),
                "yes" if row["within"] else ": ".join(["no", *why]),
            )
        )
    return f"{where(found)}Blocks: {found['blocks']}.\n\n{grid(headings, lines)}"


def capacity_truth(path: Path) -> str:
    """Known capacities, and those that searches found."""
    found = kept(path, "capacity_truth.py --out results/reference-capacity-truth.json")
    if isinstance(found, str):
        return found
    headings = ("server", "expected/s", "found/s, median", "least to greatest", "error",
                "within 5 %", "searches", "foretold")  # fmt: skip
    lines = [
        (
            row["server"],
            number(row["expected_per_s"]),
            number(row["median_per_s"]),
            f"{number(row['least_per_s'])} to {number(row['greatest_per_s'])}",
            UNKNOWN if row["error"] is None else f"{row['error']:+.1%}",
            "yes" if row["within"] else ": ".join(["no", *row["reasons"]]),
            f"{row['good']} of {row['searches']}",
            f"{row['foretold']} of {row['good']}",
        )
        for row in found["rows"]
    ]
    said = "Foretold: within the interval that the other searches give for a further one, at 95 %."
    return f"{where(found)}{said}\n\n{grid(headings, lines)}"


def two_clients(path: Path) -> str:
    """Each figure of each server on both of the client's inner loops."""
    found = kept(path, "two_clients.py --out results/reference-two-clients.json")
    if isinstance(found, str):
        return found
    told = f"{found['blocks']} blocks, {found['trials']} trials, {found['disturbed']} of them "
    told += "disturbed and left out. Noise floor: as far as the reference may be from itself."
    headings = ("load", "clients", "server", "figure", "asyncio", "C", "C / asyncio",
                "noise floor", "so")  # fmt: skip
    lines = [
        (
            row["load"],
            f"{row['clients']:,}",
            row["server"],
            SHOWN[row["figure"]].heading,
            *(_shown(row["figure"], row[loops]) for loops in ("asyncio", "C")),
            ratio(Ratio(**row["ratio"]) if row["ratio"] else None),
            number(row["noise"]),
            row["verdict"],
        )
        for row in found["rows"]
    ]
    return f"{where(found)}{told}\n\n{grid(headings, lines, 'lrllrrrrl')}"


def _shown(figure: str, value: float | None) -> str:
    return UNKNOWN if value is None else scaled(figure, value)


def power(path: Path) -> str:
    """What sessions of two lengths claim about equal servers and planted slow-downs."""
    found = kept(path, "power.py --out results/reference-power.json")
    if isinstance(found, str):
        return found
    cost, noise = found["cost_ns"], found["noise_of_a_ratio"]
    told = f"{found['trials']:,} trials, {found['gated']} of them gated; the reference needs "
    told += f"{UNKNOWN if cost is None else f'{cost / 1000:.2f}'} µs of CPU per message, and one "
    told += "block's ratio of two equal servers has a standard deviation of "
    told += f"{UNKNOWN if noise is None else f'{noise:.1%}'}."
    headings = ("session", "sessions", "twin claimed", "burn ns", "by CPU clock", "planted ratio",
                "estimated", "found", "covered")  # fmt: skip
    lines = []
    for length in found["lengths"]:
        took = "" if length["seconds"] is None else f", {length['seconds']:.0f} s"
        for planted in length["planted"].values():
            lines.append(
                (
                    f"{length['blocks']} blocks{took}",
                    str(length["sessions"]),
                    str(length["twin_claimed"]),
                    str(planted["burn_ns"]),
                    number(planted["burn_by_cpu_clock_ns"]),
                    number(planted["truth"]),
                    number(planted["estimated_median"]),
                    str(planted["found"]),
                    str(planted["covered"]),
                )
            )
    return f"{where(found) if 'kernel' in found else ''}{told}\n\n{grid(headings, lines)}"


KINDS: dict[str, Callable[[Path], str]] = {
    "observer": observer,
    "truth": ground_truth,
    "aa": aa,
    "slices": slices,
    "capacities": capacity_truth,
    "two_clients": two_clients,
    "power": power,
}
