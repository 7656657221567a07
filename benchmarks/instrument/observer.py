"""Whether what the suite reads while a slice runs changes the slice's figures.

Within a slice the engine reads two things: the free memory once a second and, in storm and
churn, the accept queue now and then. The same trials run with these readings, without them,
and followed by `c10k show --watch`. To prove that the bench would detect a disturbance,
threads also run with the readings that the suite once took (looks.py has each arm). Servers
and arms run in random order within a block, and each arm is compared with the plain one within
each block.

A figure has moved when the whole 95 % interval of its change lies beyond 2 % (for a latency,
beyond 20 µs if that is more). It has not moved when all of the interval lies within that.
Otherwise the bench cannot tell, and reports that.

  python benchmarks/instrument/observer.py [--blocks 6]     (about 50 minutes)
"""

import math
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import tables
import through
from looks import ARMS, arm_of

from c10k import paths
from c10k.judge import figures, stats
from c10k.model import Load, Measurement, Session

SERVERS = ("epoll_c", "asyncio_streams", "threads_sockets")
PROOF = ("threads_sockets",)  # the cost of reading a process grows with its threads
PLAIN, OFTEN = "plain", "often"
SHARE, LATENCY_US = 0.02, 20.0
CLIENTS = [1, 100, 10_000]
LOADS = (
    {"kind": "open", "clients": CLIENTS, "rate": 1000, "duration_s": 5.0},
    {"kind": "closed", "clients": CLIENTS, "duration_s": 3.0, "ceiling_s": 20.0},
    {"kind": "storm", "clients": [10_000]},
    {"kind": "churn", "clients": [10_000], "duration_s": 3.0},
)
QUICK = ({"kind": "open", "clients": [10], "rate": 1000, "duration_s": 0.5},)

FIGURES: dict[str, figures.FigureOf] = {
    "p50": lambda m: through.percentile_us(m.latency, 50),
    "p99": lambda m: through.percentile_us(m.latency, 99),
    "CPU per message": figures.server_cpu_us_per_message,
    "rate": lambda m: m.messages_per_s,
}
LATENCIES = ("p50", "p99")
SHOWN = {  # kind of load → its informative figures; an open loop's rate is given, so left out
    "open": ("p50", "p99", "CPU per message"),
    "closed": ("p50", "p99", "CPU per message", "rate"),
    "storm": ("p50", "p99"),
    "churn": ("p50", "p99", "CPU per message", "rate"),
}


def arms(server: str) -> list[str]:
    """The arms that a server runs in; those of PROOF also run in the arm `often`."""
    return [arm for arm in ARMS if arm != OFTEN or server in PROOF]


def entered(folder: Path, servers: Sequence[str]) -> list[str]:
    """Copies the servers' files under a name for each arm; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for server in servers:
        for source in paths.sources(str(paths.SERVERS / f"{server}.py")):
            if source.suffix not in (".py", ".toml"):
                shutil.copy(source, folder)  # what is built is named by its .toml
                continue
            for arm in arms(server):
                path = folder / f"{server}.{arm}{source.suffix}"
                shutil.copy(source, path)
                files.append(str(path.absolute()))
    return files


def change(plain: Sequence[float], other: Sequence[float], latency: bool) -> dict[str, object]:
    """How much a figure changed, one pair per block: as a share, or in µs; and the verdict."""
    pairs = list(zip(plain, other, strict=True))
    if latency:
        allowed = max(LATENCY_US, SHARE * statistics.median(plain))
        found = stats.median_interval([b - a for a, b in pairs])
        median, low, high = found.median, found.low, found.high
    else:
        allowed = SHARE
        found = stats.median_interval([math.log(b / a) for a, b in pairs])
        median, low, high = (
            math.expm1(min(each, 700.0)) for each in (found.median, found.low, found.high)
        )
    known = math.isfinite(found.low)  # else there were too few blocks
    return {
        "unit": "µs" if latency else "share",
        "change": median,
        "low": low if known else None,
        "high": high if known else None,
        "allowed": allowed,
        "verdict": verdict(low, high, allowed) if known else "not resolved",
    }


def verdict(low: float, high: float, allowed: float) -> str:
    """One word for an interval of a change, given how much a figure may move."""
    if low > allowed or high < -allowed:
        return "moved"
    return "unmoved" if -allowed <= low and high <= allowed else "not resolved"


def by_block(trials: Sequence[Measurement], figure: figures.FigureOf) -> dict[int, float]:
    """A figure of the undisturbed trials, by block; a 0 cannot be compared and is left out."""
    values = {m.trial.block: figure(m) for m in trials if through.usable(m)}
    return {block: value for block, value in values.items() if value}


def evaluate(found: Session) -> dict[str, object]:
    """A row for each figure of each server under each load in each arm but the plain one."""
    cells: dict[tuple[Load, str], list[Measurement]] = {}
    for m in found.measurements:
        cells.setdefault((m.trial.load, m.trial.server), []).append(m)
    rows = []
    for load in found.plan.workload.loads:
        for entry in (each.name for each in found.plan.servers):
            server, arm = entry.rpartition(".")[0], arm_of(entry)
            if arm == PLAIN:
                continue
            both = [cells.get((load, f"{server}.{each}"), []) for each in (PLAIN, arm)]
            for name in SHOWN[load.kind]:
                rows.append(
                    {
                        "arm": arm,
                        "server": server,
                        "load": load.label,
                        "clients": load.clients,
                        "figure": name,
                        **_row(both, name),
                    }
                )
    return {
        **through.conditions(found),
        "blocks": found.plan.workload.blocks,
        "trials": len(found.measurements),
        "disturbed": sum(not through.usable(m) for m in found.measurements),
        "engine": engine(found.measurements),
        "rows": rows,
    }


def _row(both: Sequence[Sequence[Measurement]], name: str) -> dict[str, object]:
    values = [by_block(trials, FIGURES[name]) for trials in both]
    blocks = sorted(values[0].keys() & values[1].keys())
    if not blocks:
        return {"blocks": 0, "verdict": "not resolved"}
    plain, other = ([each[block] for block in blocks] for each in values)
    return {
        "blocks": len(blocks),
        "plain": statistics.median(plain),
        "other": statistics.median(other),
        **change(plain, other, name in LATENCIES),
    }


def engine(trials: Sequence[Measurement]) -> dict[str, float | None]:
    """Arm → the suite's median CPU time within slices, as a share of a core."""
    shares: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for m in trials:
        if m.engine_cpu_s is not None and m.duration_s:
            shares[arm_of(m.trial.server)].append(m.engine_cpu_s / m.duration_s)
    return {arm: through.median(known) for arm, known in shares.items()}


def declared(folder: Path, blocks: int, quick: bool) -> through.Declared:
    """Every server in every arm under every load."""
    servers = PROOF if quick else SERVERS
    return through.Declared(
        "Observer: the same trials with and without each reading",
        entered(folder / "servers", servers),
        QUICK if quick else LOADS,
        blocks,
        repeats=0,  # the gate for the engine's own CPU would reject the arm `often` each time
    )


def main() -> int:
    parser = through.parser(__doc__ or "", "observer")
    parser.add_argument("--blocks", type=int, help="blocks of the session (6; with --quick 2)")
    options = parser.parse_args()
    blocks = options.blocks or (2 if options.quick else 6)
    found = through.session(
        options.keep / "session",
        declared(options.keep, blocks, options.quick),
        quick=options.quick,
        command=(sys.executable, str(through.HERE / "looks.py")),
    )
    through.write(options.out, evaluate(found))
    print(tables.observer(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
