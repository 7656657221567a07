"""Makes a plan, blocks of trials in a seeded random order, from workload and servers. Pure.

The design is randomised complete blocks: each block has every server once under every load,
in an order drawn for that block, so that drift of the machine affects all servers alike.
Within a block all servers run one load before the next load begins, so that two servers
under one load are never far apart in time.
"""

import random
from collections.abc import Sequence
from pathlib import PurePath

from msgspec.structs import replace

from ..model import Load, Plan, Server, Sharing, Trial, Workload
from . import capacity

# How long a trial takes in addition to slice and warm-up: to start and stop, and for each client
# to connect and close. For the estimate that is printed before a session starts.
START_S = 1.2
PER_CLIENT_S = 0.000_25
PER_HANDSHAKE_S = 0.001_3  # to connect over TLS, by the medians of results/reference-tls
# Assumed time per message before any is measured: 25,000/s on the server's one core.
PER_MESSAGE_S = 40e-6


def make(workload: Workload, servers: Sequence[Server], seed: int) -> Plan:
    """The plan: every trial in the order in which it runs.

    The same arguments give the same plan. The reference is the workload's when it is among the
    servers, else the first server. The control is the reference, entered a second time under
    another name and treated like any other server.
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
    """The servers, each with this many processes, and one copy for each way of sharing."""
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
    """The trials of one block; index may be beyond the blocks that the workload declares."""
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


def expected_s(trials: Sequence[Trial], servers: Sequence[Server]) -> float:
    """The estimated duration of these trials in seconds, when none fails.

    servers: those of the plan. Which of them speak TLS, to whom it takes longer to connect.
    """
    over_tls = {server.name for server in servers if server.tls}
    return sum(
        _steps(trial.load)
        * (START_S + _connect_s(trial, trial.server in over_tls) + _load_s(trial.load))
        for trial in trials
    )


def _connect_s(trial: Trial, over_tls: bool) -> float:
    """Estimated time in which all clients of a trial connect and close, s."""
    return trial.load.clients * (PER_CLIENT_S + PER_HANDSHAKE_S * over_tls)


def _steps(load: Load) -> int:
    """How many times a trial starts its server."""
    return capacity.expected_steps(load) if load.facts.searched else 1


def _load_s(load: Load) -> float:
    """Estimated warm-up and slice, s; in a closed loop both grow with the round trip."""
    round_trip_s = load.clients * load.depth * PER_MESSAGE_S if load.facts.closed_loop else 0.0
    slice_s = min(max(load.duration_s, 20 * round_trip_s), max(load.ceiling_s, load.duration_s))
    return max(load.warmup_s, 3 * round_trip_s) + slice_s
