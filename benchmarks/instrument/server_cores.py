"""Whether a server has the cores that --server-cores gives it, through `c10k run`.

Two servers hash 1 MiB for each message: one in threads that release the interpreter's lock, the
other on an event loop. On two cores the threads must keep more than 1.5 busy, by their own CPU
clock, and the loop at most 1.1. On one core neither can keep more than one busy.

  python benchmarks/instrument/server_cores.py [--blocks 3]     (about a minute)
"""

import sys
from collections.abc import Sequence

import tables
import through

from c10k.judge import figures
from c10k.model import Measurement, Session

THREADS, LOOP = "hashes_in_threads", "hashes_in_a_loop"
CLIENTS = 8
# (server, its cores) → the least and the most cores that it may have kept busy
EXPECTED = {
    (THREADS, 1): (0, 1.1),
    (LOOP, 1): (0, 1.1),
    (THREADS, 2): (1.5, 2),
    (LOOP, 2): (0, 1.1),
}


def declared(cores: int, blocks: int, quick: bool) -> through.Declared:
    """Both servers under one load, on so many cores."""
    load = {"kind": "closed", "clients": CLIENTS, "duration_s": 0.5 if quick else 2.0}
    servers = [through.known(f"{name}.py") for name in (THREADS, LOOP)]
    about = "Servers that hash"
    repeats, others = 0 if quick else 2, {"server_cores": cores}
    return through.Declared(about, servers, [load], blocks, repeats, others)


def row(server: str, cores: int, trials: Sequence[Measurement]) -> dict[str, object]:
    """One server on so many cores: how many it kept busy."""
    good = [m for m in trials if through.usable(m)]
    used = through.median(
        [m.server.cpu_s / m.duration_s for m in good if m.server.cpu_s and m.duration_s]
    )
    low, high = EXPECTED[server, cores]
    return {
        "server": server,
        "server_cores": cores,
        "pinned": trials[0].pinned,
        "cores_used": used,
        "limiters": sorted({str(figures.limiter(m)) for m in good}),
        "trials": len(trials),
        "good": len(good),
        "within": used is not None and low <= used <= high,
    }


def rows(found: Session, cores: int) -> list[dict[str, object]]:
    """A row for each server of a session."""
    return [
        row(name, cores, [m for m in found.measurements if m.trial.server == name])
        for name in (THREADS, LOOP)
    ]


def main() -> int:
    parser = through.parser(__doc__ or "", "server-cores")
    parser.add_argument("--blocks", type=int, help="blocks of each session (3)")
    options = parser.parse_args()
    blocks = options.blocks or (1 if options.quick else 3)
    found = {
        cores: through.session(
            options.keep / f"on-{cores}",
            declared(cores, blocks, options.quick),
            quick=options.quick,
        )
        for cores in (1, 2)
    }
    lines = [line for cores, session in found.items() for line in rows(session, cores)]
    through.write(options.out, {**through.conditions(found[1]), "blocks": blocks, "rows": lines})
    print(
        tables.grid(
            ["server", "may use", "kept busy", "limiter", "pinned", "within"],
            [
                [
                    str(line["server"]),
                    str(line["server_cores"]),
                    f"{line['cores_used']:.2f}" if line["cores_used"] else "–",
                    ", ".join(line["limiters"]),  # type: ignore[arg-type]
                    str(line["pinned"]),
                    "yes" if line["within"] else "no",
                ]
                for line in lines
            ],
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
