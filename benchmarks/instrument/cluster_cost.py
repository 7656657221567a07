"""Whether running through Dask changes the figures, and by how much.

The same load on the same cores of this machine, in turns within each block, each variant
compared by its ratio within a block with the local run that has as many client workers:

  here             run here, by one worker
  here again       the same once more, the control: its interval is the noise floor
  here, two        run here, by two workers on the client's core
  one host         through a scheduler, by one client host
  two hosts        through a scheduler, by two client hosts that share the client's core

It needs two cores, and takes no more.

  python benchmarks/instrument/cluster_cost.py [--blocks 40] [--json]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from c10k import judge, launch, paths, plan
from c10k.declare import catalog
from c10k.judge import figures, ranking, stats
from c10k.launch import runtime
from c10k.model import Load, Measurement, Trial, Workload
from c10k.plan import blocks
from c10k.run import cluster, executor, local

LOAD = Load("closed", 100, 64, 1, warmup_s=0.5, duration_s=2.0)
SERVER = "asyncio_streams"  # one that is the limit itself, so that its rate is a figure
FIGURES = ("messages_per_s", "latency_p50_us", "server_cpu_us_per_message")
CONTROL = "here again"
AGAINST = {  # variant → the local run that it is compared with
    CONTROL: "here",
    "one host": "here",
    "two hosts": "here, two",
    "here, two": "here",
}


def planned() -> blocks.Plan:
    """One load on one server; its trials are run by every variant."""
    times = {"connecting": 64, "connect_timeout_s": 10.0, "drain_s": 5.0}
    workload = Workload(
        "", "", (SERVER,), 1, (LOAD,), reference=SERVER, control=False, repeats=0, **times
    )
    return plan.make(workload, [catalog.read(paths.SERVERS / f"{SERVER}.py")], seed=1)


def start(stack: ExitStack, folder: Path, clients: int) -> cluster.Cluster:
    """A scheduler and its workers on loopback, whose server and clients have those cores.

    The server's host has all of them, and gives its server those beyond the first: Dask, as
    the command of a local run, goes where there is room.
    """
    cores = sorted(os.sched_getaffinity(0))
    file = folder / f"scheduler-{clients}.json"
    words = ["scheduler", "--port", "0", "--scheduler-file", str(file)]
    _dask(stack, folder, words, cores)
    while not file.exists() or not file.read_text():
        time.sleep(0.1)
    address = json.loads(file.read_text())["address"]
    for name in ("srv", *(f"c{number}" for number in range(clients))):
        label = f"{'server' if name == 'srv' else 'client'}=1"
        words = ["worker", address, "--name", name, "--resources", label, "--no-nanny"]
        _dask(stack, folder, words, cores if name == "srv" else cores[:1])
    while True:
        try:
            machines = cluster.connect(address)
        except cluster.ClusterError:  # the workers are on their way
            time.sleep(0.5)
            continue
        if len(machines.hosts) == 1 + clients:
            stack.callback(machines.close)
            return machines
        machines.close()


def _dask(stack: ExitStack, folder: Path, words: list[str], cores: list[int]) -> None:
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    with (folder / "dask.log").open("ab") as log:
        pinned = ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-m", "dask"]
        process = subprocess.Popen([*pinned, *words, *common], stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)


def measure(blocks: int) -> dict[str, list[Measurement]]:
    """One trial a block of each variant, in an order drawn anew."""
    launch.raise_descriptor_limit()
    whole = planned()
    runtimes = {server.name: runtime.prepare(server) for server in whole.servers}
    common = {"runtimes": runtimes, "refuse": lambda trial: None}
    seen: dict[str, list[Measurement]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="c10k-cluster-")))
        first, second, *_ = sorted(os.sched_getaffinity(0))
        pins = {"client_cpus": (first,), "server_cpus": (second,), "pinned": ""}
        here, two = (
            local.LocalExecutor(whole, folder, workers=workers, **pins, **common)
            for workers in (1, 2)
        )
        variants: dict[str, executor.Executor] = {"here": here, CONTROL: here, "here, two": two}
        for name, clients in (("one host", 1), ("two hosts", 2)):
            variants[name] = start(stack, folder, clients).executor(whole, folder, **common)
        order = random.Random(1)
        for block in range(blocks):
            for name in order.sample(list(variants), len(variants)):
                trial = Trial(block, 0, SERVER, LOAD)
                seen.setdefault(name, []).append(variants[name](trial))
    return seen


def compared(seen: Mapping[str, list[Measurement]]) -> list[dict[str, object]]:
    """A row for each figure of each variant: its ratio to its reference, and the verdict."""
    rows: list[dict[str, object]] = []
    for figure in FIGURES:
        values = {
            name: judge.by_block(trials, figures.FIGURES[figure]) for name, trials in seen.items()
        }
        ratios = {
            name: stats.log_ratios(values[name], values[against])
            for name, against in AGAINST.items()
        }
        intervals = {name: stats.median_interval(each) for name, each in ratios.items()}
        judged = stats.compare(
            {name: each for name, each in ratios.items() if name != CONTROL},
            noise=stats.noise_floor(intervals[CONTROL]),
            margin=ranking.SAME_MARGIN,
            more_is_better=figures.MORE_IS_BETTER[figure],
        )
        for name, against in AGAINST.items():
            ratio = judge.ratio_of(intervals[name])
            spread = judge.spread(trial.start_spread_s for trial in seen[name])
            rows.append(
                {
                    "variant": name,
                    "against": against,
                    "figure": figure,
                    "ratio": ratio.median,
                    "low": ratio.low,
                    "high": ratio.high,
                    "blocks": ratio.blocks,
                    "verdict": judged[name].verdict if name in judged else "noise floor",
                    "start_spread_ms": spread and spread.median * 1e3,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = compared(measure(options.blocks))
    if options.json:
        print(json.dumps({"rows": rows}, indent=1))
        return
    for row in rows:
        low, high = (row[end] if row[end] is not None else float("nan") for end in ("low", "high"))
        pair = f"{row['variant']} to {row['against']}"
        said = f"{row['ratio']:.3f} ({low:.3f} to {high:.3f}) over {row['blocks']} blocks"
        print(f"{row['figure']:26} {pair:22} {said}: {row['verdict']}")


if __name__ == "__main__":
    main()
