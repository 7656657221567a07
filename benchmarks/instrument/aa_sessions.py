"""How often `c10k compare` claims a difference between equal sessions: A/A of whole sessions.

The same short session is made over and over; nothing but time changes between them. The first
ten are a series that shows how far equal sessions lie apart. The others are twenty pairs, which
the command compares in four ways:

  one a side       each session with the next, without a series: it must report "cannot be told"
  with the series  the same pairs, with the series (`--between`)
  far apart        each of the first half with its counterpart of the second half, with the series
  three a side     three sessions with three others, none of them twice

Every claimed difference (faster, slower, broken …) is false. At most 5 % of the judged rows may
have one, and a gate (`--fail-on 5%`) should raise no alarm.

  python benchmarks/instrument/aa_sessions.py [--pairs 20]     (about 42 minutes)

It can be interrupted: sessions that exist are not made again.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tables
import through

SERVERS = ("asyncio_streams", "gevent_streamserver")
LOADS = (
    {"kind": "closed", "clients": 100, "warmup_s": 0.3, "duration_s": 1.0},
    {"kind": "open", "clients": 100, "rate": 2000, "warmup_s": 0.3, "duration_s": 1.0},
)
SERIES = 10  # sessions
GATE = ("5%", "latency_p50:5%", "server_cpu_us_per_message:5%", "connect_s:5%")
UNTOLD = "cannot be told"
UNCLAIMED = ("same", "not resolved", "incomparable", UNTOLD)
ALLOWED = 0.05
Sides = tuple[Sequence[Path], Sequence[Path]]


def neighbours(folders: Sequence[Path]) -> list[Sides]:
    """Pairs of sessions that were made one after the other, none twice."""
    return [([a], [b]) for a, b in zip(folders[::2], folders[1::2], strict=False)]


def far_apart(folders: Sequence[Path]) -> list[Sides]:
    """Pairs with half of the whole time between them."""
    half = len(folders) // 2
    return [([a], [b]) for a, b in zip(folders[:half], folders[half:], strict=False)]


def three_a_side(folders: Sequence[Path]) -> list[Sides]:
    """Three against the next three, none twice."""
    return [
        (folders[first : first + 3], folders[first + 3 : first + 6])
        for first in range(0, len(folders) - 5, 6)
    ]


# way → its pairs, and whether the command gets the series
WAYS = {
    "one a side": (neighbours, False),
    "with the series": (neighbours, True),
    "far apart": (far_apart, True),
    "three a side": (three_a_side, False),
}


def compare(sides: Sides, series: Path | None = None) -> dict[str, object]:
    """The result of comparing two sides: the rows' verdicts, and the gate's exit code."""
    a, b = ([str(folder) for folder in side] for side in sides)
    apart = ["--"] if len(a) + len(b) > 2 else []
    told = ["--between", str(series)] if series else []
    words = ["compare", "--fail-on", *GATE, *told, "--format", "json", *a, *apart, *b]
    done = subprocess.run([*through.COMMAND, *words], capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(f"c10k {' '.join(words)}: {done.stderr.strip()[-300:]}")
    rows = json.loads(done.stdout)["rows"]
    return {
        "a": [folder.name for folder in sides[0]],
        "b": [folder.name for folder in sides[1]],
        "exit": done.returncode,
        "rows": len(rows),
        "untold": sum(each["verdict"] == UNTOLD for each in rows),
        "claims": [
            {key: each[key] for key in ("server", "load", "clients", "figure", "verdict")}
            for each in rows
            if each["verdict"] not in UNCLAIMED
        ],
    }


def summary(pairs: Sequence[dict[str, Any]]) -> dict[str, object]:
    """The share of false rows among the judged ones, and the gate's false alarms."""
    from scipy.stats import binomtest  # late: slow to import

    judged = sum(each["rows"] - each["untold"] for each in pairs)
    false = sum(len(each["claims"]) for each in pairs)
    # Clopper and Pearson's interval, as if rows were independent; rows of a pair are not quite
    interval = binomtest(false, judged).proportion_ci() if judged else None
    return {
        "pairs": len(pairs),
        "rows": sum(each["rows"] for each in pairs),
        "judged": judged,
        "false": false,
        "share": false / judged if judged else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "pairs_with_any": sum(bool(each["claims"]) for each in pairs),
        "alarms": sum(each["exit"] == 1 for each in pairs),
        "cannot_tell": sum(each["exit"] == 2 for each in pairs),
        "verdict": verdict(false, judged),
        "compared": list(pairs),
    }


def verdict(false: int, judged: int) -> str:
    """Whether the share is as low as it should be, in words."""
    if not judged:
        return "nothing was judged"
    return "at most 5 %" if false / judged <= ALLOWED else "more than 5 %"


def declared(quick: bool) -> through.Declared:
    """One of the equal sessions: two servers and the control, so that it has a noise floor."""
    loads = [{**load, "duration_s": 0.3} for load in LOADS[:1]] if quick else LOADS
    return through.Declared(
        "A/A of sessions",
        SERVERS[:1] if quick else SERVERS,
        loads,
        1 if quick else 5,
        0 if quick else 2,
        {"control": True},
    )


def main() -> int:
    parser = through.parser(__doc__ or "", "aa-sessions")
    parser.add_argument("--pairs", type=int, help="pairs of sessions (20; with --quick 3)")
    options = parser.parse_args()
    pairs = options.pairs or (3 if options.quick else 20)
    series, others = options.keep / "series", options.keep / "pairs"
    counts = {series: 3 if options.quick else SERIES, others: 2 * pairs}
    folders = [place / f"{number:02d}" for place in counts for number in range(counts[place])]
    made = [
        through.session(folder, declared(options.quick), quick=options.quick, seed=number)
        for number, folder in enumerate(folders)
    ]
    paired = [folder for folder in folders if folder.parent == others]
    found = {
        **through.conditions(made[0]),
        "until": made[-1].started_at,
        "sessions": len(made),
        "series": counts[series],
        "blocks": made[0].plan.workload.blocks,
        "trials": sum(len(each.measurements) for each in made),
        "ways": {
            name: summary([compare(sides, series if told else None) for sides in way(paired)])
            for name, (way, told) in WAYS.items()
        },
    }
    through.write(options.out, found)
    print(tables.aa(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
