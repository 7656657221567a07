"""Sessions made by the command `c10k run`, as a user makes them: what the programs here share.

A check of the instrument goes through the whole of it: the engine, what it watches, the
client, what is kept and the judge. So each program writes a workload file, has the command
run it, and reads the kept session back. A session that is there is not made again, and one
that was interrupted goes on.
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
# Gates that say what the machine did; the others say what the instrument did: that is looked for.
DISTURBED = ("host", "steal", "others")


class Declared(NamedTuple):
    """A workload, as its file will say it."""

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
    # texts, numbers, truths and lists of them: JSON writes them as TOML does
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


def known(name: str) -> str:
    """The path of a server whose answer is known, as a workload names it."""
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
    """The session in this folder; made by the command, or gone on with where it stopped.

    quick: a disturbed trial counts like any other, as no figure is to be believed anyway.
    What the command prints goes to standard error. Ends the program when it fails.
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

    Whoever ends this program with SIGTERM ends the block, and so the command with all that it
    has started.
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
    """A session as if nobody had disturbed the machine."""
    trials = [
        replace(m, gates=tuple(gate for gate in m.gates if gate.kind not in DISTURBED))
        for m in found.measurements
    ]
    return replace(found, measurements=tuple(trials))


def usable(trial: Measurement) -> bool:
    """Whether what a trial shows is the instrument's own, not a disturbed machine's."""
    return trial.status == "ok" and not {gate.kind for gate in trial.gates} & set(DISTURBED)


def median(values: Iterable[float | None]) -> float | None:
    """Of the values that are known; None when none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def percentile_us(latency: Latency | None, percent: float) -> float | None:
    """A percentile of all that was recorded, whether or not a table would print it."""
    if latency is None or not latency.histogram:
        return None
    recorded = latencies.decoded(latency.histogram)
    if not recorded.get_total_count():
        return None
    if percent == 100:
        return float(recorded.get_max_value() / 1000)
    return float(recorded.get_value_at_percentile(percent) / 1000)


def conditions(found: Session) -> dict[str, object]:
    """What a reader must know of the machine, for a page."""
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
    """--quick, --out and --keep, with the first line of the program's text."""
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
        help=f"the folder of its sessions; what is there is not made again (results/{name})",
    )
    return made


def write(path: Path, found: Mapping[str, object]) -> None:
    """Keeps the figures, for people and for tools/refresh_docs.py."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"Figures: {path}", file=sys.stderr)


def floor() -> str:
    """The C floor: how long the way there and back is."""
    return str(paths.SERVERS / "epoll_c.toml")
