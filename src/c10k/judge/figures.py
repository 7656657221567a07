"""The figures of one trial, and what limited it: pure. judge.py summarises them over the blocks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..histograms import intervals as intervals_of
from ..histograms import latencies
from ..model import Cause, Limiter, Measurement, Memory
from ..plan.gates import BOUND_SHARE, bound_by
from . import samples

UNSETTLED_SHARE = 0.02  # of the rate: what a longer warm-up must change to be asked for
MOST_S = 100_000.0  # of a trial that is looked at: a day, and some
BIN_S = 0.02  # the slices that the warm-up's rule is applied to

FigureOf = Callable[[Measurement], float | None]  # of one trial
KnownLimits = Mapping[str, int]  # of the environment's group "limits", those that are known


def server_cpu_s(measurement: Measurement) -> float | None:
    """CPU time of the server's processes during the slice.

    Some kernels keep the time of interrupts, in which all that loopback receives is worked
    off, out of the clock of the process that causes them. There, and where that is not
    known, it is as long as the server's cores were busy, if that is longer: nobody else is
    on them, but for what the gates let through.
    """
    use, duration_s = measurement.server, measurement.duration_s
    if use.cpu_s is None:
        return None
    if use.interrupts_apart is False or use.busy_cores is None or not duration_s:
        return use.cpu_s
    return max(use.cpu_s, use.busy_cores * duration_s)


def server_cpu_share(measurement: Measurement) -> float | None:
    """How busy the server was during the slice, of all that it could be: 1 is the most.

    With several cores, that is all of them busy; without cores of its own, one.
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

    An open loop's client spins while it waits, so its CPU time says nothing.
    """
    if measurement.client_cpu_s is None or not measurement.trial.load.facts.closed_loop:
        return None
    return measurement.client_cpu_s / measurement.messages * 1e6 if measurement.messages else None


# All that a client takes of the machine. Bytes that wait in a socket's buffer are partly
# slab as well; the readings are taken when none wait.
MEMORY_PARTS = (
    "pss_bytes",
    "kernel_stacks_bytes",
    "page_tables_bytes",
    "slab_bytes",
    "sockets_bytes",
)


def total_bytes(memory: Memory) -> int | None:
    """All parts together; None when one is not known: a total without it would be none."""
    parts = [getattr(memory, name) for name in MEMORY_PARTS]
    return None if None in parts else sum(parts)


def memory_per_client_bytes(measurement: Measurement) -> float | None:
    """What the machine gave up from no client to all of them, per client.

    The server's own memory, and the kernel's: stacks of threads, page tables, its objects
    and the sockets' buffers. Of the kernel's all but the page tables are told for the whole
    machine only, so the clients' side of the connections is in them, the same for all servers.
    """
    use = measurement.server
    return _per_client(measurement, use.before, use.after, total_bytes)


def own_memory_per_client_bytes(measurement: Measurement) -> float | None:
    """The part of it that the server's processes hold."""
    use = measurement.server
    return _per_client(measurement, use.before, use.after, lambda memory: memory.pss_bytes)


def loaded_memory_per_client_bytes(measurement: Measurement) -> float | None:
    """memory_per_client_bytes once more after the slice, with all clients still there."""
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
    """Whether a trial is known not to have been steady from its slice's start on.

    The echoes' counts are put into bins of equal length by linear interpolation, and
    stats.settled (MSER-5) says where the unsteady beginning should be cut off. A later
    cut than the warm-up's counts only when it would change the rate by more than
    UNSETTLED_SHARE; a rate that never settles, when the slice's halves differ by as much.
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
        return False  # too short to say
    cut = samples.settled(bins.tolist())
    if cut is None:
        cut = (start + len(bins)) // 2
    if cut <= start:
        return False
    return bool(abs(bins[cut:].mean() / max(bins[start:].mean(), 1e-9) - 1) > UNSETTLED_SHARE)


# environment limit → how many threads of a process it allows for each of its units
_THREAD_LIMITS = {
    "threads_max": 1.0,
    "pid_max": 1.0,
    "user_processes": 1.0,
    "cgroup_pids": 1.0,
    "max_map_count": 0.5,  # a stack and its guard page are a mapping each
}
_NEAR = 0.97  # of a limit that other processes use, too


def limiter(measurement: Measurement, limits: KnownLimits | None = None) -> Limiter | None:
    """What stopped a trial from going faster, or at all; None for one that was not run."""
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
    if measurement.trial.load.facts.rate and share is not None and share >= BOUND_SHARE:
        return Limiter("server CPU")
    return Limiter("nothing found")


def _cause(measurement: Measurement, limits: KnownLimits) -> Cause:
    """What a failed trial ran out of: by the limits that it reached, else by what it said."""
    use = measurement.server
    hard = limits.get("descriptors_hard")
    if hard and use.descriptors_max and use.descriptors_max >= hard - 16:
        return "descriptors"
    allowed = [each * limit for name, each in _THREAD_LIMITS.items() if (limit := limits.get(name))]
    if allowed and (use.threads_max or 0) >= _NEAR * min(allowed):
        return "threads"
    return measurement.cause


def longest_silence_s(measurement: Measurement) -> float | None:
    """The longest that any client waited for an echo, whether it came or not."""
    latency = measurement.latency
    if latency is None or latency.max_us is None:
        return None
    return latency.max_us / 1e6 if measurement.trial.load.facts.stays else None


def stalls_per_s(measurement: Measurement) -> float | None:
    """Stretches of 10 ms or longer in which messages waited and nobody was answered."""
    if measurement.stalls is None or not measurement.duration_s:
        return None
    return measurement.stalls / measurement.duration_s


def by_percentile(trial: Measurement, percents: Sequence[float]) -> dict[float, int]:
    """Percentile → ns, of those that enough of the trial's latencies lie beyond."""
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


# row field → the figure of one trial
FIGURES: dict[str, FigureOf] = {
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
    "schedule_lag_p99_us": lambda m: m.schedule_lag.p99_us if m.schedule_lag else None,
    "latency_from_send_p99_us": (
        lambda m: m.latency_from_send.p99_us if m.latency_from_send else None
    ),
}

# which figures are better when they are greater; the others are when they are less
_MORE = {"messages_per_s", "fairness", "slowest_share"}
MORE_IS_BETTER = {name: name in _MORE for name in FIGURES}
