"""What the suite can tell apart: A/A, and planted slow-downs of 5 % and 10 %.

One long run has blocks with five servers: the reference, the same server as control, the same
again as `twin` (A/A), and the same burning a known extra CPU time per message. Its blocks are
cut into sessions of one and two minutes, and the suite's own judge decides what each of them
claims. Every trial has its own process, so a cut session equals a separate one.

The truth: when the server's core is the limit, the rate is 1 / (CPU per message), so a burn
of b ns slows a server that needs c ns by the ratio c / (c + b). c is the median over the whole
run. The extra CPU time per message by the process's clock is printed beside b, and shows how
exact b is.

  python benchmarks/instrument/power.py [--blocks 280]     (about 50 minutes)
"""

import itertools
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import tables
import through
from msgspec.structs import replace

from c10k.judge import figures, judge, stats
from c10k.model import Session

REFERENCE = "burns_0ns"
TWIN = "twin_burns_0ns"
BURNS_NS = {"burns_450ns": 450, "burns_900ns": 900}
LOAD = {"kind": "closed", "clients": 100, "warmup_s": 0.3}
SLICE_S = 1.2
LENGTHS = (7, 14)  # blocks of the sessions that the long one is cut into


def declared(blocks: int, slice_s: float, repeats: int) -> through.Declared:
    """The long run: this many blocks of five servers."""
    return through.Declared(
        "The instrument: A/A, and planted slow-downs",
        [through.known(f"{name}.py") for name in (REFERENCE, TWIN, *BURNS_NS)],
        [{**LOAD, "duration_s": slice_s}],
        blocks,
        repeats,
        {"reference": REFERENCE, "control": True},
    )


def cut(whole: Session, blocks: int) -> list[Session]:
    """The long session cut into disjoint sessions of this many consecutive blocks."""
    last = max(m.trial.block for m in whole.measurements) + 1
    return [
        replace(
            whole,
            plan=replace(
                whole.plan,
                trials=tuple(t for t in whole.plan.trials if first <= t.block < first + blocks),
            ),
            measurements=tuple(
                m for m in whole.measurements if first <= m.trial.block < first + blocks
            ),
        )
        for first in range(0, last - blocks + 1, blocks)
    ]


def seconds(sessions: Sequence[Session]) -> float | None:
    """The median length of a cut session (s), from its first trial's start to the next's."""
    starts = [datetime.fromisoformat(s.measurements[0].started_at) for s in sessions]
    return through.median([(b - a).total_seconds() for a, b in itertools.pairwise(starts)])


def report(whole: Session, lengths: Sequence[int] = LENGTHS) -> dict[str, object]:
    """What sessions of several lengths claim; the truths come from the whole run.

    If a server has no accepted trial in the run, only the trials are reported.
    """
    good = [m for m in whole.measurements if m.accepted]
    costs = [
        figures.server_cpu_us_per_message(m) for m in good if m.trial.server.startswith(REFERENCE)
    ]
    extra_ns = {name: through.median(_extra_ns(whole, name)) for name in BURNS_NS}
    cost_ns = through.median([cost * 1000 for cost in costs if cost is not None])
    shares = [share for m in good if (share := figures.server_cpu_share(m)) is not None]
    chance = by_block(whole)
    told = {
        "trials": len(whole.measurements),
        "gated": sum(bool(m.gates) for m in whole.measurements),
        "server_busy_least": min(shares, default=None),
        "cost_ns": cost_ns,
        "noise_of_a_ratio": statistics.stdev(chance) if len(chance) > 1 else None,
    }
    if cost_ns is None or None in extra_ns.values():
        return {**told, "lengths": []}
    truths = {name: cost_ns / (cost_ns + burn) for name, burn in BURNS_NS.items()}
    return {**told, "lengths": [claimed(cut(whole, each), truths, extra_ns) for each in lengths]}


def claimed(
    sessions: Sequence[Session],
    truths: Mapping[str, float],
    extra_ns: Mapping[str, float | None],
) -> dict[str, object]:
    """What the suite's judge claims of sessions of one length."""
    judged = [{row.server: row for row in judge(one).rows} for one in sessions]
    planted = {}
    for name, truth in truths.items():
        rows = [each[name] for each in judged if name in each]
        known = [r.ratio for r in rows if r.ratio and r.ratio.low is not None and r.ratio.high]
        planted[name] = {
            "truth": truth,
            "burn_ns": BURNS_NS[name],
            "burn_by_cpu_clock_ns": extra_ns[name],
            "estimated_median": through.median([r.median for r in known]),
            "found": sum(r.verdict == "slower" for r in rows),
            "wrong_way": sum(r.verdict == "faster" for r in rows),
            "covered": sum((r.low or 0) <= truth <= (r.high or math.inf) for r in known),
        }
    twins = [each[TWIN].verdict for each in judged if TWIN in each]
    return {
        "blocks": sessions[0].plan.trials[-1].block - sessions[0].plan.trials[0].block + 1
        if sessions
        else 0,
        "sessions": len(sessions),
        "seconds": seconds(sessions),
        "twin_claimed": sum(verdict in ("faster", "slower") for verdict in twins),
        "planted": planted,
    }


def by_block(whole: Session) -> list[float]:
    """The log-ratios of the twin to the reference: the effect of chance on one block."""
    rates = _blocks(whole, lambda m: m.messages_per_s)
    return list(stats.log_ratios(rates[TWIN], rates[REFERENCE]))


def _extra_ns(whole: Session, server: str) -> list[float]:
    """How much more CPU time a message took than the reference's, in each block, ns."""
    costs = _blocks(whole, figures.server_cpu_us_per_message)
    both = costs[server].keys() & costs[REFERENCE].keys()
    return [1000 * (costs[server][block] - costs[REFERENCE][block]) for block in both]


def _blocks(whole: Session, figure: figures.FigureOf) -> dict[str, dict[int, float]]:
    """A figure of the accepted trials: server → block → value."""
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for m in whole.measurements:
        if m.accepted and (value := figure(m)) is not None:
            values[m.trial.server][m.trial.block] = value
    return values


def main() -> int:
    parser = through.parser(__doc__ or "", "power")
    parser.add_argument("--blocks", type=int, help="blocks of the long run (280; with --quick 3)")
    options = parser.parse_args()
    blocks = options.blocks or (3 if options.quick else 280)
    slice_s = 0.3 if options.quick else SLICE_S
    whole = through.session(
        options.keep / "session",
        declared(blocks, slice_s, 0 if options.quick else 2),
        quick=options.quick,
        seed=10_000,
    )
    lengths = (blocks,) if options.quick else LENGTHS
    through.write(options.out, {**through.conditions(whole), **report(whole, lengths)})
    print(tables.power(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
