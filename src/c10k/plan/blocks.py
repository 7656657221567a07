"""Workload × Servers → blocks of Trials, seeded, pure.

Random complete blocks: a block has every server once under every load, in an order
drawn anew for each block, so that whatever drifts in the machine falls on all alike.
Within a block the loads keep together: all servers meet one load before the next, so
that two servers under one load are never far apart in time.
"""

import random
from collections.abc import Sequence
from pathlib import PurePath

from msgspec.structs import replace

from ..model import Load, Plan, Server, Sharing, Trial, Workload

# What a trial takes besides its slice and warm-up, for the estimate that is printed
# before a session starts: start and stop, and per client connecting and closing.
START_S = 1.2
PER_CLIENT_S = 0.000_25
# A guess at what a message takes, before any is measured: 25,000/s on the server's one core.
PER_MESSAGE_S = 40e-6


def make(workload: Workload, servers: Sequence[Server], seed: int) -> Plan:
    """Every trial in the order it runs; the same arguments give the same plan.

    The reference is the workload's when it is among the servers, else the first of them.
    As the control it is entered once more under another name, and is otherwise a server
    like any other.
    """
    names = [server.name for server in servers]
    wanted = [each.name for each in servers if PurePath(each.path).stem == workload.reference]
    reference = next(iter(wanted), names[0])
    control = f"{reference}-control" if workload.control else ""
    entered = list(servers)
    if control:
        entered.append(replace(servers[names.index(reference)], name=control))
    planned = Plan(
        workload=replace(workload, reference=reference),
        servers=tuple(entered),
        trials=(),
        seed=seed,
        control=control,
    )
    trials = [trial for index in range(workload.blocks) for trial in block(planned, index)]
    return replace(planned, trials=tuple(trials))


def copies(servers: Sequence[Server], processes: int, sharing: Sequence[Sharing]) -> list[Server]:
    """The servers, each entered as so many processes in each of the ways of sharing."""
    if processes == 1:
        return list(servers)
    suffix = {"one-socket": "", "reuseport": "-reuseport"}
    return [
        replace(
            server,
            name=f"{server.name}-x{processes}{suffix[way]}",
            processes=processes,
            sharing=way,
        )
        for server in servers
        for way in sharing
    ]


def block(plan: Plan, index: int) -> list[Trial]:
    """The trials of one block, also of one beyond those the workload declares."""
    # str seeds are hashed with SHA-512: the same on every platform and version
    order = random.Random(f"{plan.seed}/{index}")
    loads = order.sample(plan.workload.loads, len(plan.workload.loads))
    cells = [
        (load, server) for load in loads for server in order.sample(plan.servers, len(plan.servers))
    ]
    return [
        Trial(block=index, position=position, server=server.name, load=load)
        for position, (load, server) in enumerate(cells)
    ]


def expected_s(trials: Sequence[Trial]) -> float:
    """About how long these trials take, in seconds, when none fails."""
    return sum(
        START_S + PER_CLIENT_S * trial.load.clients + _load_s(trial.load) for trial in trials
    )


def _load_s(load: Load) -> float:
    """Warm-up and slice; both follow the round trip in a closed loop."""
    round_trip_s = load.clients * load.depth * PER_MESSAGE_S if load.facts.closed_loop else 0.0
    slice_s = min(max(load.duration_s, 20 * round_trip_s), max(load.ceiling_s, load.duration_s))
    return max(load.warmup_s, 3 * round_trip_s) + slice_s
