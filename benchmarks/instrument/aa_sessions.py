"""How often `c10k compare` claims a difference between equal sessions: A/A of whole sessions.

The same short session is made over and over; nothing changes between two of them but time.
The command then compares

  neighbours     each session with the next: what was made within minutes
  far apart      each of the first half with its counterpart of the second half
  three a side   three sessions with three others, none of them twice

Whatever differs by `compare`'s own words (faster, slower, broken, mended) is false. At most
5 % of the rows may; a gate of 5 % (`--fail-on 5%`) is to raise no alarm.

  python benchmarks/instrument/aa_sessions.py [--pairs 20]     (about 75 minutes)

It can be interrupted: sessions that are there are not made again.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import tables
import through

SERVERS = ("asyncio_streams", "gevent_streamserver")
LOADS = (
    {"kind": "closed", "clients": 100, "warmup_s": 0.3, "duration_s": 1.0},
    {"kind": "open", "clients": 100, "rate": 2000, "warmup_s": 0.3, "duration_s": 1.0},
    {"kind": "closed", "clients": 1000, "warmup_s": 0.3, "duration_s": 1.0},
)
CLAIMS = ("faster", "slower", "broken", "mended")
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


WAYS = {"neighbours": neighbours, "far apart": far_apart, "three a side": three_a_side}


def compare(sides: Sides) -> dict[str, object]:
    """What the command says of two sides: its rows' verdicts, and its gate's exit code."""
    a, b = ([str(folder) for folder in side] for side in sides)
    apart = ["--"] if len(a) + len(b) > 2 else []
    words = ["compare", "--fail-on", "5%", "--format", "json", *a, *apart, *b]
    done = subprocess.run([*through.COMMAND, *words], capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(f"c10k {' '.join(words)}: {done.stderr.strip()[-300:]}")
    rows = json.loads(done.stdout)["rows"]
    return {
        "a": [folder.name for folder in sides[0]],
        "b": [folder.name for folder in sides[1]],
        "exit": done.returncode,
        "claims": [
            {key: each[key] for key in ("server", "load", "clients", "figure", "verdict")}
            for each in rows
            if each["verdict"] in CLAIMS
        ],
        "rows": len(rows),
    }


def summary(pairs: Sequence[dict]) -> dict[str, object]:
    """The share of false rows with its interval, and of false alarms."""
    from scipy.stats import binomtest  # late: slow to import

    rows, false = sum(each["rows"] for each in pairs), sum(len(each["claims"]) for each in pairs)
    # Clopper and Pearson's, as if rows were independent; rows of one pair are not quite
    interval = binomtest(false, rows).proportion_ci() if rows else None
    return {
        "pairs": len(pairs),
        "rows": rows,
        "false": false,
        "share": false / rows if rows else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "pairs_with_any": sum(bool(each["claims"]) for each in pairs),
        "alarms": sum(each["exit"] == 1 for each in pairs),
        "cannot_tell": sum(each["exit"] == 2 for each in pairs),
        "verdict": verdict(false, rows),
        "compared": list(pairs),
    }


def verdict(false: int, rows: int) -> str:
    """Whether the share is as low as it is to be."""
    if not rows:
        return "nothing was compared"
    return "at most 5 %" if false / rows <= ALLOWED else "more than 5 %"


def declared(quick: bool) -> through.Declared:
    """One of the equal sessions: two servers and the control, so that the floor is known."""
    loads = [{**load, "duration_s": 0.3} for load in LOADS[:1]] if quick else LOADS
    return through.Declared(
        "A/A of sessions",
        SERVERS[:1] if quick else SERVERS,
        loads,
        2 if quick else 5,
        0 if quick else 2,
        {"control": True},
    )


def main() -> int:
    parser = through.parser(__doc__ or "", "aa-sessions")
    parser.add_argument("--pairs", type=int, help="of sessions (20; with --quick 3)")
    options = parser.parse_args()
    pairs = options.pairs or (3 if options.quick else 20)
    folders = [options.keep / f"session-{number:02d}" for number in range(2 * pairs)]
    made = [
        through.session(folder, declared(options.quick), quick=options.quick, seed=number)
        for number, folder in enumerate(folders)
    ]
    found = {
        **through.conditions(made[0]),
        "until": made[-1].started_at,
        "sessions": len(made),
        "blocks": made[0].plan.workload.blocks,
        "trials": sum(len(each.measurements) for each in made),
        "ways": {name: summary([compare(s) for s in way(folders)]) for name, way in WAYS.items()},
    }
    through.write(options.out, found)
    print(tables.aa(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
