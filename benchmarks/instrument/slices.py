"""Whether rates are right when a round trip is long: known round trips, through `c10k run`.

A client of the closed loop sends its next message when the echo has come, so N clients of a
server with the round trip d send exactly N / d messages per second. The server holds each
message for the time d (all clients move together, as they began together), or for a random
time with the mean d (they soon move independently), or it answers all at once at each tick of
its clock (a lock-step loop). With the first and the last, a slice of fixed length counts whole
rounds: 4 and 5 rounds are 25 % apart.

  python benchmarks/instrument/slices.py [--blocks 1]     (about 14 minutes)
"""

import sys
from collections.abc import Sequence

import tables
import through

from c10k.model import Measurement, Session

FAMILIES = {
    "answers_after": "each after the same time",
    "answers_about": "each after a time of its own",
    "answers_all_every": "all at once",
}
ROUND_TRIPS_MS = (500, 2000, 5000)
# Few enough that answering all of them, which takes an unknown time, is short in a round trip.
CLIENTS = 100
CROWD, CROWD_TRIP_MS = 10_000, 2000  # all at once, where only the ticks count
CONNECTING = 4000  # at once: as many as fit in a listener's queue
ALLOWED = 0.02
CEILING_S = 150.0  # 20 round trips of the longest fit
LOW_CEILING_S = 22.0  # 4 of them fit: the trial must report that, and its rate must be right


def round_trip_s(server: str) -> float:
    """The round trip in a server's name, in seconds."""
    return int(server.rpartition("_")[2].removesuffix("ms")) / 1e3


def row(server: str, trials: Sequence[Measurement]) -> dict[str, object]:
    """One server's row: the rate that it must have had, and the one that was measured."""
    trip_s = round_trip_s(server)
    clients = trials[0].trial.load.clients
    expected = clients / trip_s
    good = [m for m in trials if through.usable(m) and m.messages_per_s is not None]
    errors = [rate / expected - 1 for m in good if (rate := m.messages_per_s) is not None]
    worst = max(errors, key=abs, default=None)

    return {
        "server": server,
        "how": FAMILIES[server.rpartition("_")[0]],
        "clients": clients,
        "ceiling_s": trials[0].trial.load.ceiling_s,
        "round_trip_s": trip_s,
        "expected_per_s": expected,
        "measured_per_s": through.median([m.messages_per_s for m in good]),
        "worst_error": worst,
        "round_trip_seen_s": through.median([m.round_trip_s for m in good]),
        "slice_s": through.median([m.duration_s for m in good]),
        "little": through.median([m.little for m in good]),
        "at_ceiling": sum(m.at_ceiling for m in good),
        "trials": len(trials),
        "good": len(good),
        "gates": sorted({gate.kind for m in trials for gate in m.gates}),
        "reasons": sorted({m.reason for m in trials if m.reason}),
        "within": worst is not None and len(good) == len(trials) and abs(worst) <= ALLOWED,
    }


def rows(found: Session) -> list[dict[str, object]]:
    """A row for each server of a session."""
    by_server: dict[str, list[Measurement]] = {}
    for m in found.measurements:
        by_server.setdefault(m.trial.server, []).append(m)
    return [row(each.name, by_server[each.name]) for each in found.plan.servers]


def declared(
    names: Sequence[str], clients: int, ceiling_s: float, blocks: int, repeats: int
) -> through.Declared:
    """These servers under one load."""
    load = {"kind": "closed", "clients": clients, "duration_s": min(2.0, ceiling_s)}
    load["ceiling_s"] = ceiling_s
    # All connect at once: in groups, each group would take a round trip.
    others = {"connecting": min(clients, CONNECTING), "connect_timeout_s": 60.0, "drain_s": 15.0}
    servers = [through.known(f"{name}.py") for name in names]
    about = "Slices: known round trips"
    return through.Declared(about, servers, [load], blocks, repeats, others)


def cases(quick: bool) -> dict[str, tuple[list[str], int, float]]:
    """Session → its servers, how many clients they have, and the longest slice, s."""
    trips = (50,) if quick else ROUND_TRIPS_MS
    names = [[f"{family}_{trip}ms" for family in FAMILIES] for trip in trips]
    clients = 20 if quick else CLIENTS
    found = {
        "whole": ([name for each in names for name in each], clients, CEILING_S),
        "cut": (names[-1], clients, 0.5 if quick else LOW_CEILING_S),
    }
    if not quick:
        found["crowd"] = ([f"answers_all_every_{CROWD_TRIP_MS}ms"], CROWD, CEILING_S)
    return found


def main() -> int:
    parser = through.parser(__doc__ or "", "slices")
    parser.add_argument("--blocks", type=int, help="blocks of each session (1)")
    options = parser.parse_args()
    blocks, repeats = options.blocks or 1, 0 if options.quick else 2
    sessions = [
        through.session(options.keep / name, declared(*case, blocks, repeats), quick=options.quick)
        for name, case in cases(options.quick).items()
    ]
    found = {
        **through.conditions(sessions[0]),
        "blocks": blocks,
        "rows": [line for session in sessions for line in rows(session)],
    }
    through.write(options.out, found)
    print(tables.slices(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
