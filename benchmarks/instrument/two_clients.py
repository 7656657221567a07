"""Whether the client shows the same figures of a server on each of its two inner loops.

The client sends and receives in C where there is a compiler, otherwise in asyncio. The same
servers run under both, in one session: in random order within each block, and compared block
by block, as two servers are compared. The reference server is entered a second time; the
difference between the two, on the same inner loops, is the noise. The servers are slower than
either client, so that the figures are theirs.

Two figures are apart when the suite's own judge would claim it of two servers: the interval of
their ratio excludes 1 after Holm's correction, and the ratio is beyond the noise floor. A block
in which the client was the limit has only a bound, and is left out.

  python benchmarks/instrument/two_clients.py [--blocks 8]     (about 25 minutes)
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import tables
import through

from c10k.judge import figures, stats
from c10k.judge.cells import ratio_of
from c10k.model import Measurement, Session
from c10k.plan import gates

SERVERS = ("asyncio_streams", "twisted_protocol", "trio_streams")
INNER_LOOPS = ("asyncio", "C")
MARGIN = 0.03  # two figures are called the same when their ratio is within it
LOADS = (
    {"kind": "open", "clients": [100, 10_000], "rate": 4000, "warmup_s": 0.5, "duration_s": 4.0},
    {"kind": "closed", "clients": [100, 10_000], "warmup_s": 0.5, "duration_s": 3.0},
    {"kind": "idle", "clients": 1000, "duration_s": 0.5},
)
QUICK = ({"kind": "open", "clients": 10, "rate": 4000, "warmup_s": 0.1, "duration_s": 0.5},)
COMPARED = {  # kind of load → its figures
    "open": ("latency_p50_us", "latency_p99_us", "server_cpu_us_per_message"),
    "closed": ("messages_per_s", "server_cpu_us_per_message"),
    "idle": ("own_memory_per_client_bytes",),
}
Trials = Sequence[Measurement]
ByBlock = dict[int, float | None]
Both = tuple[ByBlock, ...]  # of a figure, on each of the inner loops


def figure_of(m: Measurement, key: str) -> float | None:
    """A trial's figure; None where it is a bound, because the client was the limit."""
    limiter = gates.bound_by(m)
    bound = limiter is not None and limiter.kind != "others" and key in m.trial.load.facts.bounds
    return None if bound else figures.FIGURES[key](m)


def by_block(trials: Trials, server: str, loops: str, key: str) -> ByBlock:
    """Block → the figure of a server on one of the inner loops, of undisturbed trials."""
    return {
        m.trial.block: figure_of(m, key)
        for m in trials
        if (m.trial.server, m.loops) == (server, loops) and through.usable(m)
    }


def noise_floor(control: Both, reference: Both) -> float:
    """The greatest log-ratio between the reference and itself, on the same inner loops."""
    apart = [
        ratio
        for ours, theirs in zip(control, reference, strict=True)
        for ratio in stats.log_ratios(ours, theirs)
    ]
    return stats.noise_floor(stats.median_interval(apart)) if apart else math.inf


def evaluate(found: Session) -> dict[str, Any]:
    """A row for each figure of each server: on both inner loops, and whether they are apart."""
    at: dict[tuple[str, int], list[Measurement]] = {}  # kind of load and clients → trials
    for m in found.measurements:
        at.setdefault((m.trial.load.kind, m.trial.load.clients), []).append(m)
    rows: list[dict[str, Any]] = []
    family, noise = {}, {}  # by the number of the row
    for (kind, clients), trials in at.items():
        for key in COMPARED[kind]:
            both: dict[str, Both] = {
                each.name: tuple(by_block(trials, each.name, loops, key) for loops in INNER_LOOPS)
                for each in found.plan.servers
            }
            floor = noise_floor(both.pop(found.plan.control), both[SERVERS[0]])
            for server, (first, second) in both.items():
                family[len(rows)], noise[len(rows)] = stats.log_ratios(second, first), floor
                medians = [through.median(each.values()) for each in (first, second)]
                rows.append(
                    {
                        "load": kind,
                        "clients": clients,
                        "server": server,
                        "figure": key,
                        **dict(zip(INNER_LOOPS, medians, strict=True)),
                        "noise": stats.exp_or_none(floor),
                    }
                )
    verdicts = stats.compare(family, noise=noise, margin=MARGIN)
    return {
        **through.conditions(found),
        "blocks": found.plan.workload.blocks,
        "trials": len(found.measurements),
        "disturbed": sum(not through.usable(m) for m in found.measurements),
        "rows": [{**row, **said(verdicts.get(number))} for number, row in enumerate(rows)],
    }


def said(found: stats.PairVerdict | None) -> dict[str, object]:
    """What the ratio of C to asyncio is, and one word for it."""
    if found is None:
        return {"ratio": None, "verdict": "not compared"}
    apart = found.verdict in ("faster", "slower")
    return {
        "ratio": msgspec.to_builtins(ratio_of(found.interval)),
        "verdict": "apart" if apart else found.verdict,
    }


def declared(blocks: int, quick: bool) -> through.Declared:
    """Every server under every load, on both inner loops, and the control."""
    loads = [{**load, "client": list(INNER_LOOPS)} for load in (QUICK if quick else LOADS)]
    return through.Declared(
        "Two clients: the same servers on each of the client's inner loops",
        SERVERS,
        loads,
        blocks,
        0 if quick else 2,
        {"control": True, "reference": SERVERS[0]},
    )


def main() -> int:
    parser = through.parser(__doc__ or "", "two-clients")
    parser.add_argument("--blocks", type=int, help="blocks of the session (8; with --quick 1)")
    options = parser.parse_args()
    found = through.session(
        options.keep,
        declared(options.blocks or (1 if options.quick else 8), options.quick),
        quick=options.quick,
    )
    through.write(options.out, evaluate(found))
    print(tables.two_clients(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
