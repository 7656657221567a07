"""Numbers for readers: three significant digits, ratios with their intervals."""

import math
from typing import NamedTuple

from ..model import Ratio

UNKNOWN = "–"


class Shown(NamedTuple):
    """How a figure is shown: its heading, its unit, and the factor from the stored unit."""

    heading: str
    unit: str
    scale: float = 1.0


SHOWN = {
    "capacity_per_s": Shown("capacity/s", "/s"),
    "messages_per_s": Shown("messages/s", "/s"),
    "latency_p50_us": Shown("p50 ms", "ms", 1e-3),
    "latency_p99_us": Shown("p99 ms", "ms", 1e-3),
    "latency_p999_us": Shown("p99.9 ms", "ms", 1e-3),
    "longest_stall_s": Shown("longest stall ms", "ms", 1e3),
    "stalls_per_s": Shown("stalls/s", "/s"),
    "schedule_lag_p99_us": Shown("lag p99 µs", "µs"),
    "read_lag_p99_us": Shown("read lag p99 µs", "µs"),
    "fairness": Shown("fairness", ""),
    "slowest_share": Shown("slowest %", "%", 100),
    "longest_silence_s": Shown("silence s", "s"),
    "server_cpu_us_per_message": Shown("CPU µs/message", "µs"),
    "memory_per_client_bytes": Shown("KiB/client", "KiB", 1 / 1024),
    "own_memory_per_client_bytes": Shown("own KiB/client", "KiB", 1 / 1024),
    "loaded_memory_per_client_bytes": Shown("loaded KiB/client", "KiB", 1 / 1024),
    "connect_s": Shown("connect s", "s"),
    "retried": Shown("retried", ""),
    "accept_queue_max": Shown("accept queue", ""),
    "listen_overflows": Shown("overflows", ""),
    "threads_max": Shown("threads", ""),
    "workers": Shown("workers", ""),
    "worker_clients_fairness": Shown("clients: Jain", ""),
    "worker_clients_most": Shown("clients: most %", "%", 100),
    "worker_cpu_fairness": Shown("CPU: Jain", ""),
    "worker_cpu_most": Shown("CPU: most %", "%", 100),
    "start_spread_s": Shown("starts within ms", "ms", 1e3),
    "breaking_point": Shown("clients held", ""),
}


def scaled(key: str, value: float, scale: float | None = None) -> str:
    """A figure's value as text, in the unit that it is shown in. scale: another factor."""
    if scale is None:
        scale = SHOWN[key].scale if key in SHOWN else 1.0
    return significant(value * scale)


def client_count(clients: int) -> str:
    """A client count in words: "1 client", "10,000 clients"."""
    return f"{clients:,} client{'s' * (clients != 1)}"


def ratio(value: Ratio | None) -> str:
    """A ratio with its 95 % interval; where a figure was 0, an open end is shown as 0 or ∞."""
    if value is None:
        return UNKNOWN
    low, high = value.low, value.high
    if low is None and high is None:
        return _times(value.median, 2)
    low, high = low or 0.0, math.inf if high is None else high
    digits = 3 if low and high / low < 1.1 else 2
    return f"{_times(value.median, digits)} ({_times(low, digits)} to {_times(high, digits)})"


def _times(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else f"{value:.{digits}f}" if value else "0"


def significant(value: float) -> str:
    """Three significant digits, thousands separated; an exponent only for very small values."""
    rounded = float(f"{value:.3g}")
    size = abs(rounded)
    if size >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:.1f}" if size >= 10 else f"{rounded:.2f}" if size >= 1 else f"{rounded:g}"
