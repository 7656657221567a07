"""The figures of one trial, and what limited it. Pure. rows.py summarises them over the blocks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..histograms import intervals as intervals_of
from ..histograms import latencies
from ..model import Cause, Limiter, Measurement, Memory
from ..plan.gates import BOUND_SHARE, bound_by
from . import samples, sharing

UNSETTLED_SHARE = 0.02  # share of the rate that a longer warm-up must change to count
ONE_CORE = (0.9, 1.1)  # cores that a process keeps busy when its work runs on one at a time
MOST_S = 100_000.0  # seconds of a trial that are examined: somewhat more than a day
BIN_S = 0.02  # length of the bins to which MSER-5 is applied

FigureOf = Callable[[Measurement], float | None]  # computes a figure of one trial
KnownLimits = Mapping[str, int]  # the known ones of the environment's group "limits"


def server_cpu_s(measurement: Measurement) -> float | None:
    """CPU time of the server's processes during the slice, s.

    Loopback traffic is received in interrupts, and some kernels do not charge their time to
    the process that causes them. On such a kernel, or where the kernel's rule is not known,
    the figure is the busy time of the server's cores, when that is longer: apart from what
    the gates let through, only the server runs on these cores. Where workers run there, too,
    only the process's own clock tells the two apart.
    """
    use, duration_s = measurement.server, measurement.duration_s
    if use.cpu_s is None:
        return None
    if measurement.shares_core or use.interrupts_apart is False:
        return use.cpu_s
    if use.busy_cores is None or not duration_s:
        return use.cpu_s
    return max(use.cpu_s, use.busy_cores * duration_s)


def server_cpu_share(measurement: Measurement) -> float | None:
    """The server's CPU time during the slice as a share of what its cores offer: 1 is the most.

    1 means that all of its cores were busy, or one core when it is not pinned.
    """
    cpu_s = server_cpu_s(measurement)
    if cpu_s is None or not measurement.duration_s:
        return None
    return cpu_s / measurement.duration_s / (measurement.server.cores or 1)


def server_cpu_us_per_message(measurement: Measurement) -> float | None:
    """CPU time of the server's processes per message echoed in the slice, µs."""
    cpu_s = server_cpu_s(measurement)
    if cpu_s is None or not measurement.messages_per_s:
        return None
    return cpu_s / (measurement.messages or 1) * 1e6


def client_cpu_us_per_message(measurement: Measurement) -> float | None:
    """CPU time of the workers per message, µs; closed loop only.

    An open loop's client spins while it waits, so its CPU time means nothing there.
    """
    if measurement.client_cpu_s is None or not measurement.trial.load.facts.closed_loop:
        return None
    return measurement.client_cpu_s / measurement.messages * 1e6 if measurement.messages else None


# All the memory that a client takes from the machine. Bytes that wait in a socket's buffer
# would partly be counted as slab, too; the readings are taken when none wait.
MEMORY_PARTS = (
    "pss_bytes",
    "kernel_stacks_bytes",
    "page_tables_bytes",
    "slab_bytes",
    "sockets_bytes",
)


def total_bytes(memory: Memory) -> int | None:
    """The sum of all parts, in bytes; None when a part is not known."""
    parts = [getattr(memory, name) for name in MEMORY_PARTS]
    return None if None in parts else sum(parts)


def memory_per_client_bytes(measurement: Measurement) -> float | None:
    """The growth of all memory between no client and all clients, bytes per client.

    It is the server's own memory and the kernel's: thread stacks, page tables, kernel objects
    and socket buffers. Apart from the page tables, the kernel reports its memory for the whole
    machine only. So the clients' side of the connections is included, equally for all servers.
    """
    use = measurement.server
    return _per_client(measurement, use.before, use.after, total_bytes)


def own_memory_per_client_bytes(measurement: Measurement) -> float | None:
    """The part of memory_per_client_bytes that the server's processes hold."""
    use = measurement.server
    return _per_client(measurement, use.before, use.after, lambda memory: memory.pss_bytes)


def loaded_memory_per_client_bytes(measurement: Measurement) -> float | None:
    """memory_per_client_bytes, read after the slice, with all clients still connected."""
    use = measurement.server
    return _per_client(measurement, use.before, use.loaded, total_bytes)


def _per_client(
    measurement: Measurement,
    before: Memory | None,
    after: Memory | None,
    bytes_of: Callable[[Memory], int | None],
) -> float | None:
    if before is None or after is None or not measurement.served:
        return None
    held = bytes_of(before), bytes_of(after)
    return None if held[0] is None or held[1] is None else (held[1] - held[0]) / measurement.served


def unsettled(measurement: Measurement) -> bool:
    """Whether a trial is known not to have been steady from the start of its slice.

    The echo counts are put into bins of equal length by linear interpolation, and
    samples.settled (MSER-5) says where the unsteady beginning should be cut off. A cut after
    the warm-up counts only when it would change the rate by more than UNSETTLED_SHARE. A rate
    that never settles counts when the second half of the slice differs that much from the whole.
    """
    load = measurement.trial.load
    if not load.facts.rate or measurement.status != "ok" or not measurement.bins:
        return False
    at_s = np.array([0.0, *(ns / 1e9 for ns, _ in measurement.bins)])
    counts = np.array([0.0, *(count for _, count in measurement.bins)])
    edges = np.arange(0.0, min(at_s[-1], MOST_S), BIN_S)
    bins = np.diff(np.interp(edges, at_s, counts))
    start = round(load.warmup_s / BIN_S)
    if len(bins) < samples.MIN_BINS or start >= len(bins):
        return False  # too short to tell
    cut = samples.settled(bins.tolist())
    if cut is None:
        cut = (start + len(bins)) // 2
    if cut <= start:
        return False
    return bool(abs(bins[cut:].mean() / max(bins[start:].mean(), 1e-9) - 1) > UNSETTLED_SHARE)


# a limit of the environment → how many threads of a process each of its units allows
_THREAD_LIMITS = {
    "threads_max": 1.0,
    "pid_max": 1.0,
    "user_processes": 1.0,
    "cgroup_pids": 1.0,
    "max_map_count": 0.5,  # a stack and its guard page are a mapping each
}
_NEAR = 0.97  # this share of a limit counts as reached: other processes use it, too


def limiter(measurement: Measurement, limits: KnownLimits | None = None) -> Limiter | None:
    """What kept a trial from being faster, or from working; None for one that was not run."""
    if measurement.status == "not run":
        return None
    if measurement.status == "failed" and (cause := _cause(measurement, limits or {})):
        return Limiter(cause)
    use = measurement.server
    queue, limit = use.accept_queue_max, use.accept_queue_limit
    if queue is not None and limit is not None and queue >= limit > 0:
        return Limiter("accept queue")
    if by_client := bound_by(measurement):
        return by_client
    share = server_cpu_share(measurement)
    if measurement.trial.load.facts.rate and share is not None:
        if share >= BOUND_SHARE:
            return Limiter("server CPU")
        cores, processes = use.cores or 1, use.processes_max
        if processes and processes < cores and _about_one(share * cores / processes):
            return Limiter("one core")
    return Limiter("nothing found")


def _about_one(cores: float) -> bool:
    """Whether a process kept one core busy and no more, which it may."""
    return ONE_CORE[0] <= cores <= ONE_CORE[1]


def _cause(measurement: Measurement, limits: KnownLimits) -> Cause:
    """What a failed trial ran out of: by the limits that it reached, else by its own cause."""
    use = measurement.server
    hard = limits.get("descriptors_hard")
    if hard and use.descriptors_max and use.descriptors_max >= hard - 16:
        return "descriptors"
    allowed = [each * limit for name, each in _THREAD_LIMITS.items() if (limit := limits.get(name))]
    if allowed and (use.threads_max or 0) >= _NEAR * min(allowed):
        return "threads"
    return measurement.cause


def longest_silence_s(measurement: Measurement) -> float | None:
    """The longest time that any client waited for an echo, whether or not it came."""
    latency = measurement.latency
    if latency is None or latency.max_us is None:
        return None
    return latency.max_us / 1e6 if measurement.trial.load.facts.stays else None


def stalls_per_s(measurement: Measurement) -> float | None:
    """Stalls per second: times of 10 ms or longer in which messages waited and no echo came."""
    if measurement.stalls is None or not measurement.duration_s:
        return None
    return measurement.stalls / measurement.duration_s


def by_percentile(trial: Measurement, percents: Sequence[float]) -> dict[float, int]:
    """Percentile → ns, for the percentiles that enough of the trial's latencies lie beyond."""
    if trial.latency is None or not trial.latency.histogram:
        return {}
    histogram = latencies.decoded(trial.latency.histogram)
    count = int(histogram.get_total_count())
    return {
        percent: int(value_ns)
        for percent, value_ns in histogram.get_percentile_to_value_dict(percents).items()
        if samples.percentile_allowed(
            count, percent, intervals_of.holding(trial.intervals, value_ns)
        )
    }


# field of a row → the function that computes the figure of one trial
FIGURES: dict[str, FigureOf] = {
    "capacity_per_s": lambda m: m.capacity_per_s,
    "messages_per_s": lambda m: m.messages_per_s,
    "latency_p50_us": lambda m: m.latency.p50_us if m.latency else None,
    "latency_p99_us": lambda m: m.latency.p99_us if m.latency else None,
    "latency_p999_us": lambda m: m.latency.p999_us if m.latency else None,
    "longest_stall_s": lambda m: m.longest_stall_s,
    "stalls_per_s": stalls_per_s,
    "server_cpu_us_per_message": server_cpu_us_per_message,
    "client_cpu_us_per_message": client_cpu_us_per_message,
    "memory_per_client_bytes": memory_per_client_bytes,
    "own_memory_per_client_bytes": own_memory_per_client_bytes,
    "loaded_memory_per_client_bytes": loaded_memory_per_client_bytes,
    "connect_s": lambda m: m.connect_s,
    "fairness": lambda m: m.fairness,
    "slowest_share": lambda m: m.slowest_share,
    "longest_silence_s": longest_silence_s,
    "retried": lambda m: m.retried,
    "start_spread_s": lambda m: m.start_spread_s,
    "accept_queue_max": lambda m: m.server.accept_queue_max,
    "listen_overflows": lambda m: m.server.listen_overflows,
    "threads_max": lambda m: m.server.threads_max,
    "workers": sharing.worker_count,
    "worker_clients_fairness": sharing.clients_evenness,
    "worker_clients_most": sharing.clients_most,
    "worker_cpu_fairness": sharing.work_evenness,
    "worker_cpu_most": sharing.work_most,
    "schedule_lag_p99_us": lambda m: m.schedule_lag.p99_us if m.schedule_lag else None,
    "read_lag_p99_us": lambda m: m.read_lag.p99_us if m.read_lag else None,
    "latency_from_send_p99_us": (
        lambda m: m.latency_from_send.p99_us if m.latency_from_send else None
    ),
}

# the figures that are better when greater; all others are better when smaller
_MORE = {
    "capacity_per_s",
    "messages_per_s",
    "fairness",
    "slowest_share",
    "worker_clients_fairness",
    "worker_cpu_fairness",
}
MORE_IS_BETTER = {name: name in _MORE for name in FIGURES}
