"""Whether running through Dask changes the figures, and by how much.

The same load runs on the same cores of this machine, the variants in turns within each block.
Each is compared, by its ratio within a block, with the local run of as many client workers:

  here             run here, by one worker
  here again       the same again, the control: its interval is the noise floor
  here, two        run here, by two workers on the client's core
  one host         through a scheduler, by one client host
  two hosts        through a scheduler, by two client hosts that share the client's core

It needs two cores and uses no more.

  python benchmarks/instrument/cluster_cost.py [--blocks 40] [--json]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from c10k import launch, machine, paths
from c10k.declare import catalog
from c10k.judge import by_block, figures, ranking, ratio_of, spread, stats
from c10k.model import Load, Measurement, Plan, Trial, Workload
from c10k.run import begin, cluster, executor, local, store

LOAD = Load("closed", 100, 64, 1, warmup_s=0.5, duration_s=2.0)
SERVER = "asyncio_streams"  # it is the limit itself, not the client, so its rate is a figure
FIGURES = ("messages_per_s", "latency_p50_us", "server_cpu_us_per_message")
HERE, CONTROL, TWO = "here", "here again", "here, two"
HOSTS = {"one host": 1, "two hosts": 2}  # variant → its client hosts
AGAINST = {  # variant → the local run that it is compared with
    CONTROL: HERE,
    "one host": HERE,
    "two hosts": TWO,
    TWO: HERE,
}


def declared(blocks: int) -> Workload:
    """One load on one server, which is listed once under the name of each variant."""
    return Workload(
        "cluster-cost",
        "What Dask changes of the figures",
        (SERVER,),
        blocks,
        (LOAD,),
        reference=SERVER,
        control=False,
        repeats=0,
        connecting=64,
        connect_timeout_s=10.0,
        drain_s=5.0,
    )


class Variants(local.LocalMachine):
    """This machine; a server's name says whether it runs directly or through a cluster."""

    def __init__(self, clusters: Mapping[str, cluster.Cluster]) -> None:
        self.clusters = clusters

    def executor(self, planned: Plan, logs: Path, rules: executor.Rules) -> local.LocalExecutor:
        return InVariants(planned, logs, rules, self.clusters)


class InVariants(local.LocalExecutor):
    """Runs a trial in the variant that its server's name gives."""

    def __init__(
        self,
        planned: Plan,
        logs: Path,
        rules: executor.Rules,
        clusters: Mapping[str, cluster.Cluster],
    ) -> None:
        super().__init__(planned, logs, rules, pinning(1))
        self.others: dict[str, executor.Executor[Any]] = {
            TWO: local.LocalExecutor(planned, logs, rules, pinning(2)),
            **{name: each.executor(planned, logs, rules) for name, each in clusters.items()},
        }

    def __call__(self, trial: Trial) -> Measurement:
        other = self.others.get(trial.server)
        return other(trial) if other else super().__call__(trial)


def pinning(workers: int) -> machine.Pinning:
    """The cores that a cluster would use: the first for clients, the second for the server."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    note = f"server on core {second}, clients on core {first}"
    return machine.Pinning((second,), (first,), workers, note)


def start(stack: ExitStack, folder: Path, clients: int) -> cluster.Cluster:
    """A scheduler and its workers on loopback, with server and clients on the cores above.

    The server's host has all cores, and its server gets those after the first. Dask runs where
    there is room, like the command of a local run.
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
        except cluster.ClusterError:  # the workers are not connected yet
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
    """One trial per block of each variant, in an order that is drawn again for each block."""
    launch.raise_descriptor_limit()
    server = catalog.read(paths.SERVERS / f"{SERVER}.py")
    names = (HERE, CONTROL, TWO, *HOSTS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="c10k-cluster-")))
        clusters = {name: start(stack, folder, clients) for name, clients in HOSTS.items()}
        begun = begin.begin(
            declared(blocks),
            folder / "session",
            servers=[replace(server, name=name) for name in names],
            seed=1,
            machines=Variants(clusters),
            checked=False,
        )
        with begun:
            begun.run()
        # No gate counts: Dask runs beside the trials, and its effect is what is measured.
        trials = [replace(m, gates=()) for m in store.load(begun.folder).measurements]
    return {name: [m for m in trials if m.trial.server == name] for name in names}


def compared(seen: Mapping[str, list[Measurement]]) -> list[dict[str, object]]:
    """A row for each figure of each variant: its ratio to its reference, and the verdict."""
    rows: list[dict[str, object]] = []
    for figure in FIGURES:
        values = {name: by_block(trials, figures.FIGURES[figure]) for name, trials in seen.items()}
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
            ratio = ratio_of(intervals[name])
            starts = spread(trial.start_spread_s for trial in seen[name])
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
                    "start_spread_ms": starts and starts.median * 1e3,
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
