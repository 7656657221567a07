"""Whether `c10k run` reports the right figures for servers whose figures are known in advance.

The figures of the servers in known_servers/ follow from their names by arithmetic:

  delay d            each percentile is d, in either loop
  stall of L every E, open loop: arrivals are spread evenly over it, so a message waits
                     longer than x with probability (L - x) / E: p95 is L - 0.05 E, p99 is
                     L - 0.01 E. The longest stall is L, and there are 1 / E of them per second
  the same, closed   each client meets each stall once, however many messages it sends
                     between: p99 does not show it, the longest wait is L
  memory             the memory that each client costs, the server's own and the kernel's: the
                     slope over the clients, less that of the same loop which holds nothing
  children           the cost of messages that the server's children answer, whether behind a
                     shell, alive or ended: the difference that a known burn makes

Predicted latencies leave out the way there and back. The C floor shows it: its median in the
same loop is subtracted in the last column. The last case is the schedule lag at many
connections.

  python benchmarks/instrument/ground_truth.py [--blocks 2]     (about 9 minutes)
"""

import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tables
import through

from c10k.judge import figures, judge
from c10k.model import Measurement, MemoryRow, Session, Slope

# Seven clients, not a whole number of messages/s: arrivals meet each stall at another point.
UNEVEN = {"kind": "open", "clients": 7, "rate": 997, "arrivals": "constant"}
EVEN = {"kind": "open", "clients": 50, "rate": 1000}
ONE = {"kind": "closed", "clients": 1}  # more would be answered together, one after another
CROWD = {"kind": "open", "clients": 10_000, "rate": 10_000}
HELD = [100, 400, 800]  # clients, at which memory is read
KERNEL_STACK_BYTES = 16 * 1024  # THREAD_SIZE of these machines
KERNEL_STACKS_KNOWN = platform.machine() in ("x86_64", "aarch64")
BURN_US = 200.0

Line = dict[str, Any]  # of the table
Read = Callable[[Measurement], float | None]


def percentile(percent: float, which: str = "latency") -> Read:
    """Reads a percentile in µs of one of a trial's histograms."""
    return lambda m: through.percentile_us(getattr(m, which), percent)


def longest_ms(m: Measurement) -> float | None:
    return None if m.longest_stall_s is None else m.longest_stall_s * 1e3


def stalls_per_s(m: Measurement) -> float | None:
    return m.stalls / m.duration_s if m.stalls is not None and m.duration_s else None


class Case(NamedTuple):
    """The predicted value of one figure of a server under one kind of load."""

    server: str
    kind: str
    figure: str
    unit: str
    predicted: float
    read: Read

    @property
    def name(self) -> str:
        return f"{self.server}, {self.kind}"


def delays(server: str, delay_us: float) -> list[Case]:
    """Every percentile is the delay, in both loops."""
    return [
        Case(server, kind, f"p{percent}", "µs", delay_us, percentile(percent))
        for kind in ("open", "closed")
        for percent in (50, 99)
    ]


def stalls(server: str, stall_ms: float, every_ms: float) -> list[Case]:
    """The predictions for stalls, in both loops."""
    in_open = {50: 0.0, 95: stall_ms - 0.05 * every_ms, 99: stall_ms - 0.01 * every_ms}
    cases = [
        Case(server, "open", f"p{percent}{words}", "µs", ms * 1e3, percentile(percent, which))
        for which, words in (("latency", ""), ("latency_from_send", " from the send"))
        for percent, ms in in_open.items()
    ]
    in_closed = {50: 0.0, 99: 0.0, 100: stall_ms}
    cases += [
        Case(server, "closed", f"p{q}" if q < 100 else "max", "µs", ms * 1e3, percentile(q))
        for q, ms in in_closed.items()
    ]
    for kind in ("open", "closed"):
        cases.append(Case(server, kind, "longest stall", "ms", stall_ms, longest_ms))
        cases.append(Case(server, kind, "stalls", "/s", 1e3 / every_ms, stalls_per_s))
    return cases


DELAYS = (
    *delays("epoll_c", 0.0),
    *delays("answers_after_1ms", 1e3),
    *delays("answers_after_10ms", 1e4),
)
STALLS = (
    *stalls("stalls_100ms_a_second", 100.0, 1000.0),
    *stalls("stalls_20ms_every_200ms", 20.0, 200.0),
)
LAG = tuple(
    Case("epoll_c", "open", f"p{q} of the schedule's lag", "µs", 0.0, percentile(q, "schedule_lag"))
    for q in (50, 99)
)


class Kept(NamedTuple):
    """The known memory of a server per client, beyond that of one that keeps nothing."""

    server: str
    figure: str
    read: Callable[[MemoryRow], Slope | None]
    predicted_bytes: float


NOTHING = "keeps_0KiB_a_client"
MEMORY = (
    Kept("keeps_128KiB_a_client", "own", lambda row: row.pss, 128 * 1024),
    # 32 pages need 32 entries of 8 bytes
    Kept("keeps_128KiB_a_client", "all", lambda row: row.total, 128 * 1024 + 256),
    Kept("touches_4KiB_of_2MiB_a_client", "own", lambda row: row.pss, 4096),
    Kept("touches_4KiB_of_2MiB_a_client", "page tables", lambda row: row.page_tables, 4096),
    Kept("holds_a_thread_a_client", "kernel stacks", lambda row: row.kernel_stacks, 16 * 1024),
)
CHILDREN = ("in_children", "behind_a_shell")


def row(name: str, figure: str, unit: str, predicted: float, values: Sequence[float]) -> Line:
    """One line of the table: what was predicted, and what was measured."""
    return {
        "case": name,
        "figure": figure,
        "unit": unit,
        "predicted": predicted,
        "reported": through.median(values),
        "least": min(values, default=None),
        "greatest": max(values, default=None),
        "error": statistics.median(values) - predicted if values else None,
        "rounds": len(values),
    }


def seen(found: Session, server: str, kind: str, read: Read) -> dict[int, float]:
    """A figure of a server's undisturbed trials under a kind of load, by block."""
    values = {
        m.trial.block: read(m)
        for m in found.measurements
        if (m.trial.server, m.trial.load.kind) == (server, kind) and through.usable(m)
    }
    return {block: value for block, value in values.items() if value is not None}


def cases(found: Session, wanted: Sequence[Case], way_us: Mapping[str, float]) -> list[Line]:
    """The lines of cases of one session; way_us: the C floor's median in each loop."""
    rows = []
    for case in wanted:
        values = list(seen(found, case.server, case.kind, case.read).values())
        line = row(case.name, case.figure, case.unit, case.predicted, values)
        if case.unit == "µs" and case.kind in way_us and line["error"] is not None:
            line["error_without_way"] = line["error"] - way_us[case.kind]
        rows.append(line)
    return rows


def ways(found: Session) -> dict[str, float]:
    """The time of the way there and back in each loop, µs: the C floor's median."""
    known = {
        kind: list(seen(found, "epoll_c", kind, percentile(50)).values())
        for kind in ("open", "closed")
    }
    return {kind: statistics.median(values) for kind, values in known.items() if values}


def kept(rows: Sequence[MemoryRow]) -> list[Line]:
    """The memory per client that the judge reports for each server of known memory."""
    by_server = {each.server: each for each in rows}
    lines = []
    for case in MEMORY:
        if case.figure == "kernel stacks" and not KERNEL_STACKS_KNOWN:
            continue
        slopes = [
            case.read(by_server[name]) if name in by_server else None
            for name in (case.server, NOTHING)
        ]
        some, none = slopes
        values = [some.per_client - none.per_client] if some and none else []
        name = f"{case.server}, idle"
        line = row(name, f"{case.figure}, a client", "B", case.predicted_bytes, values)
        if some:
            line["slope_low"], line["slope_high"] = some.low, some.high
        lines.append(line)
    return lines


def burnt(found: Session) -> list[Line]:
    """The CPU time per message that a burn in children added."""
    lines = []
    for place in CHILDREN:
        for kind in ("closed", "churn"):
            with_burn, without = (
                seen(found, f"burns_{us}us_{place}", kind, figures.server_cpu_us_per_message)
                for us in (int(BURN_US), 0)
            )
            values = [with_burn[block] - without[block] for block in with_burn if block in without]
            name = f"burns_{int(BURN_US)}us_{place}, {kind}"
            lines.append(row(name, "CPU per message", "µs", BURN_US, values))
    return lines


def measure(keep: Path, blocks: int, slice_s: float, quick: bool) -> dict[str, object]:
    """The lines of all sessions, which are made unless they exist."""

    def run(name: str, servers: Sequence[str], loads: Sequence[Mapping[str, object]]) -> Session:
        warmup_s = 0.1 if quick else 0.5
        timed = [{"duration_s": slice_s, "warmup_s": warmup_s, **load} for load in loads]
        about, repeats = f"Ground truth: {name}", 0 if quick else 2
        declared = through.Declared(about, servers, timed, blocks, repeats)
        return through.session(keep / name, declared, quick=quick)

    known = through.known
    late = run(
        "delays",
        [through.floor(), known("answers_after_1ms.py"), known("answers_after_10ms.py")],
        [EVEN, ONE],
    )
    way_us = ways(late)
    stalled = run(
        "stalls",
        [known("stalls_100ms_a_second.py"), known("stalls_20ms_every_200ms.py")],
        [UNEVEN, ONE],
    )
    crowd = {**CROWD, "clients": 100, "rate": 1000} if quick else CROWD
    lag = run("lag", [through.floor()], [crowd])
    held = run(
        "memory",
        [known(f"{name}.py") for name in dict.fromkeys((NOTHING, *(each[0] for each in MEMORY)))],
        [{"kind": "idle", "clients": [10, 50, 100] if quick else HELD, "duration_s": 0.05}],
    )
    children = run(
        "children",
        [
            known(f"burns_{us}us_{place}.{'py' if place == CHILDREN[0] else 'toml'}")
            for place in CHILDREN
            for us in (0, int(BURN_US))
        ],
        [
            {"kind": kind, "clients": 10, "duration_s": min(slice_s, 3.0)}
            for kind in ("closed", "churn")
        ],
    )
    every = (late, stalled, lag, held, children)
    return {
        **through.conditions(late),
        "blocks": blocks,
        "slice_s": slice_s,
        "trials": sum(len(each.measurements) for each in every),
        "disturbed": sum(not through.usable(m) for each in every for m in each.measurements),
        "rows": [
            *cases(late, DELAYS, way_us),
            *cases(stalled, STALLS, way_us),
            *cases(lag, LAG, {}),
            *kept(judge(held).memory),
            *burnt(children),
        ],
    }


def main() -> int:
    parser = through.parser(__doc__ or "", "ground-truth")
    parser.add_argument("--blocks", type=int, help="blocks of each session (2; with --quick 1)")
    options = parser.parse_args()
    blocks = options.blocks or (1 if options.quick else 2)
    slice_s = 0.5 if options.quick else 20.0
    through.write(options.out, measure(options.keep, blocks, slice_s, options.quick))
    print(tables.ground_truth(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
