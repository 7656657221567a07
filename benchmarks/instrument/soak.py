"""Whether the suite's own processes stay the same size, however long a session takes.

    python benchmarks/instrument/soak.py --minutes 120

A session of many trials and long slices runs while the memory, descriptors and threads of
engine and client are read every two seconds. For each, the median in the first and in the last
fifth of the time is shown. The exit code is 1 when at the end the engine holds more descriptors
or threads than at the beginning, or 10 % and more than 8 MiB more memory. A client is judged
from trial to trial, and within the longest slice.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
import through

from c10k.launch import keeper
from c10k.run import store

SERVERS = ("asyncio_streams", "threads_sockets", "trio_streams")
BLOCKS = 200  # more than the time allows
EVERY_S = 2.0
FIRST_S = 10.0  # until all late imports are done
Reading = tuple[int, int, int]  # memory in bytes, descriptors and threads of a process
ALLOWED_SHARE, ALLOWED_BYTES = 0.10, 8 << 20


def declared(slice_s: float) -> through.Declared:
    """Many trials: short closed-loop slices, and open-loop slices of this length."""
    loads = (
        {"kind": "closed", "clients": [100, 1000], "duration_s": 1.0},
        {"kind": "open", "rate": 5000, "clients": 1000, "duration_s": slice_s},
    )
    return through.Declared("Soak", SERVERS, loads, BLOCKS, repeats=0)


def reading(process: psutil.Process) -> Reading:
    held = process.memory_full_info().uss
    return held, process.num_fds(), process.num_threads()


def watch(engine: psutil.Process, minutes: float) -> tuple[list[Reading], dict[int, list[Reading]]]:
    """Readings of the engine, and of each client worker by its process id."""
    own: list[Reading] = []
    clients: dict[int, list[Reading]] = {}
    until = time.monotonic() + minutes * 60
    time.sleep(FIRST_S)
    while time.monotonic() < until:
        own.append(reading(engine))
        for child in engine.children():
            try:
                if any("echo_client.py" in word for word in child.cmdline()):
                    clients.setdefault(child.pid, []).append(reading(child))
            except psutil.Error:
                continue  # it has ended meanwhile
        time.sleep(EVERY_S)
    return own, clients


def ends(readings: list[Reading]) -> dict[str, list[float]]:
    """Each figure's median in the first and in the last fifth."""
    fifth = max(1, len(readings) // 5)
    names = ("memory_bytes", "descriptors", "threads")
    columns = dict(zip(names, zip(*readings, strict=True), strict=True))
    return {
        name: [statistics.median(values[:fifth]), statistics.median(values[-fifth:])]
        for name, values in columns.items()
    }


def grew(found: dict[str, list[float]]) -> list[str]:
    """Messages for the figures that grew."""
    faults = []
    first, last = found["memory_bytes"]
    if last - first > max(ALLOWED_BYTES, ALLOWED_SHARE * first):
        faults.append(f"memory from {first / 2**20:.1f} to {last / 2**20:.1f} MiB")
    for name in ("descriptors", "threads"):
        if found[name][1] > found[name][0]:
            faults.append(f"{name} from {found[name][0]:.0f} to {found[name][1]:.0f}")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--slice", type=float, default=60.0, help="the longest slice, in seconds")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="c10k-soak-") as scratch:
        workload = Path(scratch) / "soak.toml"
        workload.write_text(declared(options.slice).toml())
        folder = Path(scratch) / "session"
        words = [*through.COMMAND, "run", str(workload), "--out", str(folder)]
        with through.running(words) as run:
            own, clients = watch(psutil.Process(run.pid), options.minutes)
        trials = len(store.load(folder).measurements)
    longest = max(clients.values(), key=len)
    found = {
        "minutes": options.minutes,
        "trials": trials,
        "engine": ends(own),
        "client, from trial to trial": ends([each[0] for each in clients.values()]),
        "client, within the longest slice": ends(longest),
        "left_running": len(keeper.carrying(f"{run.pid}-")),
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{options.minutes:g} minutes, {trials} trials, {found['left_running']} left running")
    code = 1 if found["left_running"] else 0
    for who in ("engine", "client, from trial to trial", "client, within the longest slice"):
        first, last = found[who]["memory_bytes"]
        counts = ", ".join(
            f"{name} {found[who][name][0]:.0f} → {found[who][name][1]:.0f}"
            for name in ("descriptors", "threads")
        )
        print(f"{who}: memory {first / 2**20:.1f} → {last / 2**20:.1f} MiB, {counts}")
        for fault in grew(found[who]):
            code = 1
            print(f"  not flat: {fault}")
    return code


if __name__ == "__main__":
    sys.exit(main())
