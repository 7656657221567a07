"""The results of the judge: rows, comparisons, noise floors."""

from typing import Literal

from msgspec import Struct

from .declared import Environment, Load, Workload
from .measured import Status

Verdict = Literal["faster", "slower", "same", "not resolved"]
# For two sides. better and worse are used for figures that are neither a rate nor a time.
ComparedVerdict = (
    Verdict
    | Literal["better", "worse", "farther", "nearer"]
    | Literal["broken", "mended", "incomparable", "cannot be told"]
)


LimiterKind = (
    Literal["server CPU", "one core", "client CPU", "client lag", "others", "accept queue"]
    | Literal["nothing found"]
    | Literal["descriptors", "ports", "threads", "memory", "connecting"]
)


class Limiter(Struct, frozen=True, order=True):
    """What kept a trial from being faster, or from working."""

    kind: LimiterKind
    host: str = ""  # on which of several machines; "": there is only one

    def __str__(self) -> str:
        return f"{self.kind} on {self.host}" if self.host else self.kind


class Spread(Struct, frozen=True):
    """A figure over the blocks: the median, the least and the greatest value."""

    median: float
    least: float
    greatest: float


class Ratio(Struct, frozen=True):
    """A figure divided by the reference's, within blocks: the median and its interval.

    low and high are None where there are too few blocks. Only one of them is None where a
    figure was 0 in some blocks: the interval has no end on that side. The median is 0 when the
    figure was 0 in most blocks, and infinite (null in JSON) when the reference's was.
    """

    median: float
    low: float | None
    high: float | None
    blocks: int


class Slope(Struct, frozen=True):
    """Growth per client over several client counts, and its interval; ends may be unknown."""

    per_client: float
    low: float | None
    high: float | None


class MemoryRow(Struct, frozen=True):
    """The memory that a client costs a server while it does nothing, in bytes per client."""

    server: str
    counts: tuple[int, ...]  # the client counts at which memory was read
    pss: Slope
    private: Slope
    shared: Slope
    kernel_stacks: Slope | None
    sockets: Slope | None
    threads: Slope | None  # threads per client
    page_tables: Slope | None = None
    slab: Slope | None = None  # of the whole machine, including the clients' side
    total: Slope | None = None  # pss, kernel stacks, page tables, slab and socket buffers


class BreakingPoint(Struct, frozen=True):
    """The result of a search: how many clients a server holds."""

    server: str
    holds: int | None  # the highest client count that met the service level
    fails: int | None  # the lowest that missed it; None: none up to the search's bound
    broke: str = ""  # what broke first
    served: int | None = None  # clients served at the count that fails
    reason: str = ""
    p99_us: float | None = None  # at the count that holds


class LoadPoint(Struct, frozen=True):
    """How a server did at a share of its own capacity, over the blocks."""

    share: float  # of the capacity that was found in the same block
    blocks: int
    bound: bool  # client or others were the limit: the server is at least this good
    latency_p50_us: Spread | None
    latency_p99_us: Spread | None
    longest_stall_s: Spread | None
    # falls as the load grows, where a server reads several waiting messages of a client at once
    server_cpu_us_per_message: Spread | None
    # p99 over that of a queue whose every message takes the server's CPU time per message
    over_ideal: Spread | None


class RequestRow(Struct, frozen=True):
    """One request of a mix under a load: its latencies from the intended send."""

    request: str
    messages: int  # in all trials that are shown
    latency_p50_us: Spread | None
    latency_p90_us: Spread | None
    latency_p99_us: Spread | None


class Row(Struct, frozen=True):
    """One line of a result table: a server under a load, over all blocks."""

    server: str
    workload: str
    load: Load
    tier: str
    model: str
    status: Status
    reason: str
    blocks: int  # how many have an accepted trial
    blocks_run: int = 0  # how many have any trial
    capacity_per_s: Spread | None = None
    capacity_interval: tuple[float, float] | None = None  # of a further search, messages/s
    over_load: tuple[LoadPoint, ...] = ()
    messages_per_s: Spread | None = None
    bound: bool = False  # client or others were the limit: the server is at least this good
    latency_p50_us: Spread | None = None
    latency_p99_us: Spread | None = None
    latency_p999_us: Spread | None = None
    longest_stall_s: Spread | None = None
    stalls_per_s: Spread | None = None
    server_cpu_us_per_message: Spread | None = None
    client_cpu_us_per_message: Spread | None = None
    memory_per_client_bytes: Spread | None = None  # all memory of the machine that it took
    own_memory_per_client_bytes: Spread | None = None  # the part that the server's processes hold
    loaded_memory_per_client_bytes: Spread | None = None  # all memory, after the slice
    connect_s: Spread | None = None
    fairness: Spread | None = None
    slowest_share: Spread | None = None
    longest_silence_s: Spread | None = None  # the longest wait of any client for an echo
    clients_without_echo: int | None = None  # in the worst block
    at_ceiling: int = 0  # trials whose slice was cut to ceiling_s
    retried: Spread | None = None
    accept_queue_max: Spread | None = None
    listen_overflows: Spread | None = None
    threads_max: Spread | None = None
    workers: Spread | None = None  # processes or threads that served, if several
    worker_clients_fairness: Spread | None = None  # Jain's index over the clients of each
    worker_clients_most: Spread | None = None  # the share of the one that holds the most
    worker_cpu_fairness: Spread | None = None  # Jain's index over their CPU time
    worker_cpu_most: Spread | None = None  # the share of the busiest
    connected: int | None = None
    served: int | None = None  # in the worst block
    unserved: int | None = None  # clients without a first echo, over all blocks
    lost: int | None = None
    altered: int | None = None
    errors: dict[str, int] = {}  # including those that kept a client from being served
    schedule_lag_p99_us: Spread | None = None
    read_lag_p99_us: Spread | None = None
    latency_from_send_p99_us: Spread | None = None
    ratio: Ratio | None = None  # of the primary figure to the reference's
    verdict: Verdict | None = None  # against the reference
    # of the primary figure to the same server's on a like interpreter that has its lock
    without_lock: Ratio | None = None
    with_lock: str = ""  # the server that ratio is to
    rank: int | None = None  # the best that the evidence leaves open
    rank_worst: int | None = None  # the worst that it leaves open
    shown_better: int | None = None  # how many servers were shown to be better; floors not counted
    cpu_over_floor: float | None = None  # server CPU time per message, divided by the C floor's
    gated: int = 0  # rejected trials, over all blocks and attempts
    outliers: tuple[int, ...] = ()  # blocks whose primary figure is an outlier; they are kept
    unsettled: int = 0  # trials that did not settle within their warm-up
    limiters: tuple[Limiter, ...] = ()  # of its trials, each listed once
    versions: dict[str, str] = {}  # of its framework and dependencies
    python: str = ""  # the interpreter that ran it
    build: tuple[str, ...] = ()  # the options of its build that affect its speed
    gil: bool | None = None  # whether its lock was on while it served
    gil_came_on: bool = False  # after the imports at the top of its file
    contender: str = ""  # its name without the interpreter
    interpreter: str = ""  # what that is called in its name
    loops: str = ""  # what drove the clients: C or asyncio; "": not recorded
    hosts: str = ""  # server and clients, when there are several machines
    start_spread_s: Spread | None = None
    notes: tuple[str, ...] = ()
    by_request: tuple[RequestRow, ...] = ()  # of a mix, in its order

    @property
    def clients(self) -> int:
        return self.load.clients


class NoiseFloor(Struct, frozen=True):
    """The reference compared with itself under one load: no smaller difference is claimed."""

    load: Load
    ratio: Ratio


class Compared(Struct, frozen=True):
    """One figure of one server under one load on two sides (or of two servers in one session).

    broken: only A has figures that count. mended: only B has. incomparable: neither has.
    farther, nearer: B's breaking point, found by a search, is higher or lower than A's.
    """

    server: str
    load: Load
    figure: str
    primary: bool  # whether it is the primary figure of this kind of load
    a: Spread | None
    b: Spread | None
    ratio: Ratio | None  # b over a; a breaking point's ends are what its searches leave open
    verdict: ComparedVerdict
    reason: str = ""  # of a verdict that the figures do not explain
    a_bound: bool = False  # the client was the limit: A is at least this good
    b_bound: bool = False

    @property
    def clients(self) -> int:
        return self.load.clients


class Comparison(Struct, frozen=True):
    """The comparison of two sides, each of one session or several."""

    a: str
    b: str
    rows: tuple[Compared, ...]
    warnings: tuple[str, ...] = ()
    advice: str = ""  # a command that would decide what these sessions cannot


class Judged(Struct, frozen=True):
    """A summarised session, as a table shows it."""

    workload: Workload
    rows: tuple[Row, ...]
    noise: tuple[NoiseFloor, ...]
    warnings: tuple[str, ...]
    environment: Environment
    started_at: str
    finished: bool
    reference: str
    control: str
    memory: tuple[MemoryRow, ...] = ()
    breaking: tuple[BreakingPoint, ...] = ()
    tls: str = ""  # the protocol and the cipher of the servers over TLS; "" without any
