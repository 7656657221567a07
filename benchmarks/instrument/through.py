"""Shared by the programs here: sessions made with the command `c10k run`, as a user makes them.

A check of the instrument must go through all of it: the engine, what it watches, the client,
what is stored and the judge. So each program writes a workload file, runs it with the command,
and reads the stored session back. A session that exists is not made again, and an interrupted
one is resumed.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from c10k import paths
from c10k.histograms import latencies
from c10k.model import Latency, Measurement, Session
from c10k.run import store

HERE = Path(__file__).resolve().parent
KNOWN = HERE / "known_servers"
COMMAND = (sys.executable, "-m", "c10k")
DONE, EARLY = 0, 3
# Gates about the machine. The others are about the instrument, which is what is examined here.
DISTURBED = ("host", "steal", "others")


class Declared(NamedTuple):
    """A workload, as it will be written to its file."""

    title: str
    servers: Sequence[str]  # names, or paths of server files
    loads: Sequence[Mapping[str, object]]
    blocks: int
    repeats: int = 2
    others: Mapping[str, object] = {}  # further keys of the workload

    def toml(self) -> str:
        """The file's text."""
        head = {
            "title": self.title,
            "servers": list(self.servers),
            "blocks": self.blocks,
            "control": False,
            "repeats": self.repeats,
            **self.others,
        }
        tables = [_lines(head), *(f"[[load]]\n{_lines(load)}" for load in self.loads)]
        return "\n".join(tables)


def _lines(table: Mapping[str, object]) -> str:
    # texts, numbers, booleans and lists of them: JSON writes them as TOML does
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


def known(name: str) -> str:
    """The path of a server of known_servers/, as a workload names it."""
    path = KNOWN / name
    if not path.is_file():
        sys.exit(f"{path}: no such server")
    return str(path)


def session(
    folder: Path,
    declared: Declared,
    *,
    quick: bool = False,
    seed: int = 1,
    command: Sequence[str] = COMMAND,
) -> Session:
    """The session in this folder, which the command makes, or resumes where it stopped.

    quick: a disturbed trial counts like any other, as the figures are not used anyway.
    The command's output goes to standard error. Ends the program when the command fails.
    """
    if not (folder / store.FINISHED).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="c10k-instrument-") as scratch:
            if (folder / store.HEAD).exists():
                words = ["--resume", str(folder)]
            else:
                path = Path(scratch) / f"{folder.name}.toml"
                path.write_text(declared.toml())
                words = [str(path), "--unchecked", "--seed", str(seed), "--out", str(folder)]
            with running([*command, "run", *words]) as process:
                code = process.wait()
        if code == EARLY:
            print(f"interrupted; the same command goes on with {folder}", file=sys.stderr)
            sys.exit(EARLY)
        if code != DONE:
            sys.exit(f"c10k run {' '.join(words)}: exited with {code}")
    found = store.load(folder)
    if found.altered:
        sys.exit(f"{folder}: its trials are no longer those that it was finished with")
    planned = [Path(server).stem for server in declared.servers]
    kept = [server.name for server in found.plan.servers if server.name != found.plan.control]
    if kept != planned:
        sys.exit(f"{folder}: holds a session of {', '.join(kept)}: name another --keep")
    return forgiven(found) if quick else found


@contextmanager
def running(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs at most as long as the block; it prints to standard error.

    SIGTERM to this program ends the block, and so the command and all that it has started.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with subprocess.Popen(words, stdout=sys.stderr) as process:
            try:
                yield process
            finally:
                process.terminate()
    finally:
        signal.signal(signal.SIGTERM, before)


def forgiven(found: Session) -> Session:
    """The session as if nothing had disturbed the machine."""
    trials = [
        replace(m, gates=tuple(gate for gate in m.gates if gate.kind not in DISTURBED))
        for m in found.measurements
    ]
    return replace(found, measurements=tuple(trials))


def usable(trial: Measurement) -> bool:
    """Whether a trial shows the instrument itself, rather than a disturbed machine."""
    return trial.status == "ok" and not {gate.kind for gate in trial.gates} & set(DISTURBED)


def median(values: Iterable[float | None]) -> float | None:
    """The median of the known values; None if there are none."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def percentile_us(latency: Latency | None, percent: float) -> float | None:
    """A percentile (µs) of all recorded latencies, whether or not a table would print it."""
    if latency is None or not latency.histogram:
        return None
    recorded = latencies.decoded(latency.histogram)
    if not recorded.get_total_count():
        return None
    if percent == 100:
        return float(recorded.get_max_value() / 1000)
    return float(recorded.get_value_at_percentile(percent) / 1000)


def conditions(found: Session) -> dict[str, object]:
    """What a reader of the results must know about the machine."""
    environment = found.environment
    python = environment.get("python", {})
    return {
        "started_at": found.started_at,
        "kernel": environment.get("system", {}).get("kernel"),
        "cpu": environment.get("cpu", {}).get("model"),
        "cores": environment.get("cpu", {}).get("cores_allowed"),
        "python": python.get("version"),
        "pinned": next((m.pinned for m in found.measurements if m.pinned), ""),
    }


def parser(about: str, name: str) -> argparse.ArgumentParser:
    """A parser with --quick, --out and --keep. about: its description."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--quick", action="store_true", help="the least that runs: shows that it works, no more"
    )
    made.add_argument(
        "--out",
        type=Path,
        default=Path("results") / f"{name}.json",
        help=f"keep the figures in this file (results/{name}.json)",
    )
    made.add_argument(
        "--keep",
        type=Path,
        default=Path("results") / name,
        help=f"the folder of its sessions; existing ones are not made again (results/{name})",
    )
    return made


def write(path: Path, found: Mapping[str, object]) -> None:
    """Writes the figures to a file, for people and for tools/refresh_docs.py."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"Figures: {path}", file=sys.stderr)


def floor() -> str:
    """The C floor's server file; its latency is the way there and back."""
    return str(paths.SERVERS / "epoll_c.toml")
