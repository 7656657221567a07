"""Whether the client reports what arithmetic predicts, and how punctual its open loop is.

The servers of tests/known_servers answer after a delay that is known: constant, or none but
for a stall of 100 ms a second. So every percentile is known, too:

  constant delay d   each percentile is d, in either loop
  stall, open loop   an arrival meets the stall in a tenth of all cases, evenly spread over
                     it: a message waits longer than x ms with probability (100 - x) / 1000,
                     and so p95 is 50 ms and p99 is 90 ms
  stall, closed      each client meets each stall once, however many messages it sends
                     between: p99 sees nothing of it, and the longest is 100 ms

The prediction leaves out the way there and back, so each error contains it. How long the way
is, the C floor says, which does not delay: its median in the same loop is taken off in the
last column. The last case is the schedule lag at many connections.

  python benchmarks/instrument/ground_truth.py [--rounds 3] [--json]
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import one_client
from hdrh.histogram import HdrHistogram

from c10k import catalog, launch, machine, places

KNOWN = places.SUITE / "benchmarks" / "instrument" / "known_servers"
FLOOR = places.SERVERS / "epoll_c.toml"


class Case(NamedTuple):
    """A server under a plan, and what each percentile of one histogram is to be (ms)."""

    name: str
    server: Path
    plan: dict
    figure: str  # the key of the result
    predicted_ms: dict[float, float]


EVEN = {"kind": "open", "clients": 50, "rate": 1000}
# Seven clients, no whole number of messages a second: the arrivals meet each stall elsewhere.
UNEVEN = {"kind": "open", "clients": 7, "rate": 997, "arrivals": "constant"}
ONE = {"kind": "closed", "clients": 1}  # more would be answered together, one after another
WAY = {"open": "no delay, open", "closed": "no delay, closed"}
STALL_OPEN = {50: 0.0, 95: 50.0, 99: 90.0}

CASES = (
    Case(WAY["open"], FLOOR, EVEN, "latency", {50: 0.0, 99: 0.0}),
    Case(WAY["closed"], FLOOR, ONE, "latency", {50: 0.0, 99: 0.0}),
    Case("1 ms, open", KNOWN / "answers_after_1ms.py", EVEN, "latency", {50: 1.0, 99: 1.0}),
    Case("1 ms, closed", KNOWN / "answers_after_1ms.py", ONE, "latency", {50: 1.0, 99: 1.0}),
    Case("10 ms, open", KNOWN / "answers_after_10ms.py", EVEN, "latency", {50: 10.0, 99: 10.0}),
    Case("10 ms, closed", KNOWN / "answers_after_10ms.py", ONE, "latency", {50: 10.0, 99: 10.0}),
    Case("stall, open", KNOWN / "stalls_100ms_a_second.py", UNEVEN, "latency", STALL_OPEN),
    Case(
        "stall, open, from the send",
        KNOWN / "stalls_100ms_a_second.py",
        UNEVEN,
        "latency_from_send",
        STALL_OPEN,
    ),
    Case(
        "stall, closed",
        KNOWN / "stalls_100ms_a_second.py",
        ONE,
        "latency",
        {50: 0.0, 99: 0.0, 100: 100.0},
    ),
    Case(
        "schedule lag, 10,000 clients, 10,000/s",
        FLOOR,
        {"kind": "open", "clients": 10_000, "rate": 10_000},
        "schedule_lag",
        {50: 0.0, 99: 0.0},
    ),
)


def reported(case: Case, seconds: float, seed: int, pinning: machine.Pinning) -> dict[float, float]:
    """Each predicted percentile as the client reports it, µs."""
    with tempfile.TemporaryDirectory(prefix="c10k-truth-") as folder:
        running = launch.start(catalog.read(case.server), Path(folder) / "log", cpus=pinning.server)
        try:
            plan = {**case.plan, "port": int(running.address[1]), "duration_s": seconds}
            if plan["kind"] == "open":
                plan["seed"] = seed
            result = one_client.shared(plan, pinning.clients[0] if pinning.clients else None)[-1]
        finally:
            running.stop()
    histogram = HdrHistogram.decode(result[case.figure])
    return {
        percent: histogram.get_value_at_percentile(percent) / 1000 for percent in case.predicted_ms
    }


def measure(rounds: int, seconds: float) -> list[dict]:
    """A row for each percentile of each case; the cases take turns."""
    launch.raise_descriptor_limit()
    pinning = machine.cores()
    seen = [[reported(case, seconds, seed, pinning) for case in CASES] for seed in range(rounds)]
    names = [case.name for case in CASES]
    way_us = {
        kind: statistics.median(each[names.index(name)][50] for each in seen)
        for kind, name in WAY.items()
    }
    rows = []
    for index, case in enumerate(CASES):
        way = 0.0 if case.figure == "schedule_lag" else way_us[case.plan["kind"]]
        for percent, predicted_ms in case.predicted_ms.items():
            values = [each[index][percent] for each in seen]
            errors = [value - predicted_ms * 1000 for value in values]
            rows.append(
                {
                    "case": case.name,
                    "figure": "max" if percent == 100 else f"p{percent:g}",
                    "predicted_us": predicted_ms * 1000,
                    "reported_us": statistics.median(values),
                    "error_us": statistics.median(errors),
                    "error_least_us": min(errors),
                    "error_greatest_us": max(errors),
                    "error_without_way_us": statistics.median(errors) - way,
                    "rounds": rounds,
                    "seconds": seconds,
                    "pinned": pinning.note,
                }
            )
    return rows


def main() -> None:
    arguments = one_client.arguments(__doc__ or "", rounds=3, seconds=10.0)
    rows = measure(arguments.rounds, arguments.seconds)
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=1))
        return
    print(f"{rows[0]['pinned']}; medians of {arguments.rounds} rounds of {arguments.seconds:g} s")
    print(
        f"{'case':38}       predicted µs   reported µs   error µs (least to greatest)  less the way"
    )
    for row in rows:
        print(
            f"{row['case']:38}  {row['figure']:>3}  {row['predicted_us']:12,.0f}"
            f"  {row['reported_us']:12,.1f}  {row['error_us']:9,.1f}"
            f" ({row['error_least_us']:,.1f} to {row['error_greatest_us']:,.1f})"
            f"  {row['error_without_way_us']:,.1f}"
        )


if __name__ == "__main__":
    main()
