"""Workload × Servers → blocks of Trials, seeded, pure.

Random complete blocks: a block has every server once under every load, in an order
drawn anew for each block, so that whatever drifts in the machine falls on all alike.
Within a block the loads keep together: all servers meet one load before the next, so
that two servers under one load are never far apart in time.
"""

import random
from collections.abc import Sequence

from .model import Plan, Server, Trial, Workload

# What a trial takes besides its slice and warm-up, for the estimate that is printed
# before a session starts: start and stop, and per client connecting and closing.
START_S = 1.2
PER_CLIENT_S = 0.000_25


def make(workload: Workload, servers: Sequence[Server], seed: int) -> Plan:
    """Every trial in the order it runs; the same arguments give the same plan."""
    trials = []
    for block in range(workload.blocks):
        # str seeds are hashed with SHA-512: the same on every platform and version
        order = random.Random(f"{seed}/{block}")
        position = 0
        for load in order.sample(workload.loads, len(workload.loads)):
            for server in order.sample(servers, len(servers)):
                trials.append(Trial(block=block, position=position, server=server.name, load=load))
                position += 1
    return Plan(workload=workload, servers=tuple(servers), trials=tuple(trials), seed=seed)


def expected_s(trials: Sequence[Trial]) -> float:
    """About how long these trials take, in seconds, when none fails."""
    return sum(
        START_S + trial.load.warmup_s + trial.load.duration_s + PER_CLIENT_S * trial.load.clients
        for trial in trials
    )
