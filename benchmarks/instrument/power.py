"""What the suite can tell apart: A/A, and planted slow-downs of 5 % and 10 %.

One long run of blocks with five servers: the reference, the same server as control, the
same once more as `twin` (A/A), and the same burning a known extra CPU time per message.
Its blocks are cut into sessions of about two minutes, and the suite's own judge is asked
what each of them claims. Every trial is a process of its own, so a cut session is what a
session of its own would have been.

The truth: where the server's core is the limit, the rate is 1 / (CPU per message), so a
burn of b ns slows a server that needs c ns by the ratio c / (c + b). c is the median over
the whole run. How much more CPU time a message took by the process's clock is printed beside
b: it says how exact b is.

  python benchmarks/instrument/power.py --out results/reference-instrument   (40 minutes)
  python benchmarks/instrument/power.py --judge results/reference-instrument
"""

import argparse
import itertools
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console

from c10k import (
    catalog,
    figures,
    judge,
    launch,
    machine,
    places,
    plan,
    runtime,
    session,
    stats,
    store,
)
from c10k.model import Latency, Load, Measurement, Session, Trial, Workload
from c10k.render import progress

KNOWN = places.SUITE / "benchmarks" / "instrument" / "known_servers"
REFERENCE = "burns_0ns"
TWIN = "twin"
BURNS_NS = {"burns_450ns": 450, "burns_900ns": 900}
CLIENTS = 100
LOAD = Load("closed", CLIENTS, 64, 1, warmup_s=0.3, duration_s=1.2)


def planned(blocks: int) -> plan.Plan:
    """The long run: so many blocks of five servers."""
    reference = catalog.read(KNOWN / f"{REFERENCE}.py")
    servers = [reference, replace(reference, name=TWIN)]
    servers += [catalog.read(KNOWN / f"{name}.py") for name in BURNS_NS]
    workload = Workload(
        name="instrument",
        title="The instrument: A/A, and planted slow-downs",
        servers=tuple(server.name for server in servers),
        blocks=blocks,
        loads=(LOAD,),
        reference=REFERENCE,
        control=True,
        repeats=2,
        connecting=128,
        connect_timeout_s=15.0,
        drain_s=5.0,
    )
    return plan.make(workload, servers, seed=10_000)


def run(folder: Path, blocks: int) -> None:
    """Runs, or goes on with, the long session."""
    launch.raise_descriptor_limit()
    console = Console()
    done: Sequence[Measurement] = ()
    if (folder / store.HEAD).exists():
        head, writer = store.resume(folder)
        whole, done = head.plan, head.measurements
    else:
        whole = planned(blocks)
        head = Session(
            schema=store.SCHEMA,
            c10k="instrument",
            started_at=session.now(),
            plan=whole,
            environment=machine.environment(places.SUITE),
            conformance={},
        )
        writer = store.create(folder, head)
    pinning = machine.cores()
    executor = session.LocalExecutor(
        whole,
        writer.logs,
        server_cpus=pinning.server or (),
        client_cpus=pinning.clients or (),
        workers=pinning.workers,
        pinned=pinning.note,
        runtimes={server.name: runtime.prepare(server) for server in whole.servers},
        refuse=lambda trial: None,
    )

    def execute(trial: Trial) -> Measurement:
        """Without what is not judged here: a thousand histograms would be megabytes."""
        measured = executor(trial)
        return replace(measured, latency=bare(measured.latency), bins=())

    left = len(whole.trials) - len(done)
    with progress.Lines(console, left, blocks, plan.expected_s(whole.trials[:left])) as lines:
        session.run(whole, execute, writer, done=done, before=lines.before, after=lines.after)
    writer.close()


def bare(latency: Latency | None) -> Latency | None:
    """The percentiles without their histogram."""
    return replace(latency, histogram="") if latency else None


def cut(whole: Session, blocks: int) -> list[Session]:
    """The long session in disjoint sessions of so many consecutive blocks."""
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


def seconds(sessions: Sequence[Session]) -> float:
    """The median length of a cut session, from its first trial's start to the next one's."""
    starts = [datetime.fromisoformat(s.measurements[0].started_at) for s in sessions]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(starts)]
    return statistics.median(gaps) if gaps else float("nan")


def row(one: Session, server: str):
    """A server's row in a session, as the suite judges it."""
    return next(r for r in judge.judge(one).rows if r.server == server)


def report(whole: Session) -> dict:
    """What sessions of several lengths claim; the truths come from the whole run."""
    good = [m for m in whole.measurements if m.accepted]
    costs = [
        figures.server_cpu_us_per_message(m) for m in good if m.trial.server.startswith(REFERENCE)
    ]
    extra_ns = {name: 1000 * statistics.median(_extra_us(whole, name)) for name in BURNS_NS}
    shares = [figures.server_cpu_share(m) for m in good]
    cost_ns = 1000 * statistics.median(costs)
    truths = {name: cost_ns / (cost_ns + burn) for name, burn in BURNS_NS.items()}
    lengths = []
    for blocks in (7, 14):
        sessions = cut(whole, blocks)
        twins = [row(one, TWIN).verdict in ("faster", "slower") for one in sessions]
        found = {}
        for name, truth in truths.items():
            rows = [row(one, name) for one in sessions]
            known = [r.ratio for r in rows if r.ratio and r.ratio.low is not None]
            found[name] = {
                "truth": truth,
                "burn_ns": BURNS_NS[name],
                "burn_by_cpu_clock_ns": extra_ns[name],
                "estimated_median": statistics.median(r.median for r in known),
                "found": sum(r.verdict == "slower" for r in rows),
                "wrong_way": sum(r.verdict == "faster" for r in rows),
                "covered": sum(r.low <= truth <= r.high for r in known),
            }
        lengths.append(
            {
                "blocks": blocks,
                "sessions": len(sessions),
                "seconds": seconds(sessions),
                "twin_claimed": sum(twins),
                "planted": found,
            }
        )
    deviation = statistics.stdev(by_block(whole))
    return {
        "trials": len(whole.measurements),
        "gated": sum(bool(m.gates) for m in whole.measurements),
        "server_busy_least": min(shares),
        "cost_ns": cost_ns,
        "noise_of_a_ratio": deviation,
        "lengths": lengths,
    }


def by_block(whole: Session) -> list[float]:
    """The log-ratios of the twin to the reference: what chance alone does to one block."""
    rates = _blocks(whole, lambda m: m.messages_per_s)
    return list(stats.log_ratios(rates[TWIN], rates[REFERENCE]))


def _extra_us(whole: Session, server: str) -> list[float]:
    """How much more CPU time a message took than the reference's, in each block."""
    costs = _blocks(whole, figures.server_cpu_us_per_message)
    both = costs[server].keys() & costs[REFERENCE].keys()
    return [costs[server][block] - costs[REFERENCE][block] for block in both]


def _blocks(whole: Session, figure) -> dict[str, dict[int, float]]:
    """A figure of the good trials: server → block → value."""
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for m in whole.measurements:
        if m.accepted:
            values[m.trial.server][m.trial.block] = figure(m)
    return values


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="run, or go on with, the session in this folder")
    parser.add_argument("--judge", type=Path, help="judge the session in this folder")
    parser.add_argument("--blocks", type=int, default=280, help="of the long run (280)")
    arguments = parser.parse_args()
    if arguments.out:
        try:
            run(arguments.out, arguments.blocks)
        except KeyboardInterrupt:
            print(f"interrupted; the same command goes on with {arguments.out}")
            return 3
    folder = arguments.judge or arguments.out
    if folder is None:
        parser.error("give --out or --judge")
    print(json.dumps(report(store.load(folder)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
