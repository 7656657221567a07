"""What is judged: rows, comparisons, noise floors."""

from typing import Literal

from msgspec import Struct

from .declared import Environment, Load, Workload
from .measured import Status

Verdict = Literal["faster", "slower", "same", "not resolved"]
# Of two sides; better and worse are of what is neither a rate nor a time.
ComparedVerdict = (
    Verdict
    | Literal["better", "worse", "farther", "nearer"]
    | Literal["broken", "mended", "incomparable", "cannot be told"]
)


LimiterKind = (
    Literal["server CPU", "client CPU", "client lag", "others", "accept queue", "nothing found"]
    | Literal["descriptors", "ports", "threads", "memory", "connecting"]
)


class Limiter(Struct, frozen=True, order=True):
    """What stopped a trial from going faster, or at all."""

    kind: LimiterKind
    host: str = ""  # of several machines: the one that it was on

    def __str__(self) -> str:
        return f"{self.kind} on {self.host}" if self.host else self.kind


class Spread(Struct, frozen=True):
    """A figure over the blocks: the median, and the least and greatest seen."""

    median: float
    least: float
    greatest: float


class Ratio(Struct, frozen=True):
    """A figure over the reference's, by blocks: the median and its interval.

    low and high are None where there are too few blocks to say. Only one of them is None where
    a figure was 0 in some blocks: the interval is open there. The median is 0 when the figure
    was 0 in most blocks, and infinite (null in JSON) when the reference's was.
    """

    median: float
    low: float | None
    high: float | None
    blocks: int


class Slope(Struct, frozen=True):
    """Growth per client over several client counts, with its interval; None: not known."""

    per_client: float
    low: float | None
    high: float | None


class MemoryRow(Struct, frozen=True):
    """What a client costs a server in memory while it does nothing; bytes per client."""

    server: str
    counts: tuple[int, ...]  # of clients, at which it was read
    pss: Slope
    private: Slope
    shared: Slope
    kernel_stacks: Slope | None
    sockets: Slope | None
    threads: Slope | None  # threads per client
    page_tables: Slope | None = None
    slab: Slope | None = None  # of the whole machine, the clients' side with it
    total: Slope | None = None  # own, kernel stacks, page tables, slab and socket buffers


class BreakingPoint(Struct, frozen=True):
    """How far a server goes: the result of a search."""

    server: str
    holds: int | None  # the highest client count that met the service level
    fails: int | None  # the lowest that did not; None: none was found up to the bound
    broke: str = ""  # what broke first
    served: int | None = None  # clients served there
    reason: str = ""
    p99_us: float | None = None  # at the count that holds


class Row(Struct, frozen=True):
    """One line of a result table: a server under a load, over all blocks."""

    server: str
    workload: str
    load: Load
    tier: str
    model: str
    status: Status
    reason: str
    blocks: int  # in which it has an accepted trial
    blocks_run: int = 0  # in which it has any
    messages_per_s: Spread | None = None
    bound: bool = False  # client or others were the limit: the server is at least as good
    latency_p50_us: Spread | None = None
    latency_p99_us: Spread | None = None
    latency_p999_us: Spread | None = None
    longest_stall_s: Spread | None = None
    stalls_per_s: Spread | None = None
    server_cpu_us_per_message: Spread | None = None
    client_cpu_us_per_message: Spread | None = None
    memory_per_client_bytes: Spread | None = None  # all that the machine gave up
    own_memory_per_client_bytes: Spread | None = None  # the server's processes' part of it
    loaded_memory_per_client_bytes: Spread | None = None  # all of it, after the slice
    connect_s: Spread | None = None
    fairness: Spread | None = None
    slowest_share: Spread | None = None
    longest_silence_s: Spread | None = None  # the longest that any client waited for an echo
    clients_without_echo: int | None = None  # the worst block
    at_ceiling: int = 0  # trials whose slice was as long as allowed, and not as long as wanted
    retried: Spread | None = None
    accept_queue_max: Spread | None = None
    listen_overflows: Spread | None = None
    threads_max: Spread | None = None
    connected: int | None = None
    served: int | None = None  # the worst block
    unserved: int | None = None  # clients without a first echo, all blocks
    lost: int | None = None
    altered: int | None = None
    errors: dict[str, int] = {}  # those that kept a client from being served among them
    schedule_lag_p99_us: Spread | None = None
    latency_from_send_p99_us: Spread | None = None
    ratio: Ratio | None = None  # of the primary figure, to the reference's
    verdict: Verdict | None = None  # against the reference
    rank: int | None = None  # the best that the evidence leaves open
    rank_worst: int | None = None  # and the worst
    cpu_over_floor: float | None = None  # server CPU per message, over the C floor's
    gated: int = 0  # trials rejected, all blocks and attempts
    outliers: tuple[int, ...] = ()  # blocks whose primary figure stands apart; none is deleted
    unsettled: int = 0  # trials that did not settle within their warm-up
    limiters: tuple[Limiter, ...] = ()  # of its trials, each once
    versions: dict[str, str] = {}  # of its framework and dependencies
    python: str = ""  # the interpreter that ran it
    gil: bool | None = None
    hosts: str = ""  # of several machines: the server's and the clients'
    start_spread_s: Spread | None = None
    notes: tuple[str, ...] = ()

    @property
    def clients(self) -> int:
        return self.load.clients


class NoiseFloor(Struct, frozen=True):
    """The reference against itself under one load: nothing smaller is claimed."""

    load: Load
    ratio: Ratio


class Compared(Struct, frozen=True):
    """One figure of one server under one load on two sides (or of two servers in one session).

    broken: A has figures that stand and B has none; mended: the other way round;
    incomparable: neither has. farther, nearer: of the breaking point that a search found.
    """

    server: str
    load: Load
    figure: str
    primary: bool  # the figure that this kind of load is about
    a: Spread | None
    b: Spread | None
    ratio: Ratio | None  # b over a; a breaking point's ends: what its searches leave open
    verdict: ComparedVerdict
    reason: str = ""  # of a verdict that no figure shows
    a_bound: bool = False  # the client was the limit: A is at least as good as this
    b_bound: bool = False

    @property
    def clients(self) -> int:
        return self.load.clients


class Comparison(Struct, frozen=True):
    """What two sides, of a session each or of several, say of each other."""

    a: str
    b: str
    rows: tuple[Compared, ...]
    warnings: tuple[str, ...] = ()
    advice: str = ""  # the command that would tell what cannot be told from these


class Judged(Struct, frozen=True):
    """A session, summarised: what a table shows."""

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
