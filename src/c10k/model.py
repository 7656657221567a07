"""The data types that flow, frozen; nothing else.

Server, Workload → Trial → Measurement (failures are values, not exceptions)
→ Session (environment + measurements) → Judged (rows) → text or page.

Units are in the names. A figure that was not taken is None, never zero.

What is read from files is bounded by these types, once for all who read: beyond the bounds
nothing was measured, and arithmetic on it would end in infinities.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Kind = Literal["closed", "open", "idle", "storm", "churn"]
Sharing = Literal["", "one-socket", "reuseport"]
Arrivals = Literal["", "poisson", "constant"]
Verdict = Literal["faster", "slower", "same", "not resolved"]
# Of two sides; better and worse are of what is neither a rate nor a time.
ComparedVerdict = (
    Verdict
    | Literal["better", "worse", "farther", "nearer"]
    | Literal["broken", "mended", "incomparable", "cannot be told"]
)
Decision = Literal["supported", "refuted", "depends", "not resolved", ""]
Tier = Literal["canonical", "variant", "tuned", "floor"]
Status = Literal["ok", "failed", "not run"]
Grade = Literal["ok", "unclean", "informational", "failed"]

# A server's or a workload's: part of file names, so no path, and whole in UTF-8.
Name = Annotated[str, Meta(pattern=r"\A\w[^/\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z", max_length=200)]
Line = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]
# A version specifier or a requirement: Python converts no number of 5,000 digits.
Specified = Annotated[str, Meta(max_length=1000)]
Whole = Annotated[int, Meta(ge=-(10**15), le=10**15)]
Real = Annotated[float, Meta(ge=-1e15, le=1e15)]
Clients = Annotated[int, Meta(ge=1, le=10_000_000)]
Told = str | bool | int | float | list[str | int | float] | None  # by a machine, of itself
Environment = dict[str, dict[str, Told]]


class Note(Struct, frozen=True, forbid_unknown_fields=True):
    """A remark that a server's rows carry when it runs on a matching interpreter."""

    python: Specified  # e.g. ">=3.12"
    text: str


class Server(Struct, frozen=True):
    """One contender file, as its PEP 723 block (or its .toml) describes it."""

    name: Name  # the file's stem
    path: Line  # within the suite relative to it, under the home ~/…, else absolute
    title: str
    model: str  # thread per client, greenlets, callbacks, coroutines ...
    unit: str  # thread, greenlet, task, protocol object ...
    tier: Tier
    framework: str = ""  # the distribution whose version is recorded; "" for none
    requires_python: Specified = ""
    dependencies: tuple[Specified, ...] = ()
    notes: tuple[Note, ...] = ()
    build: tuple[str, ...] = ()  # command; {out} is the binary, {here} the file's folder
    start: tuple[str, ...] = ()  # command; empty: started by the interpreter
    prefers: str = ""  # an interpreter to be isolated on, where it is on the machine: "3.11"
    python: str = ""  # an interpreter that was asked for: a path, "3.13", "python3.14t"
    isolated: bool = False  # in an environment of its own
    processes: Annotated[int, Meta(ge=1, le=1000)] = 1  # copies of it that serve together
    sharing: Sharing = ""  # with several: all on one listening socket, or SO_REUSEPORT ones


class Runtime(Struct, frozen=True):
    """What a server runs on."""

    executable: str  # the interpreter's path
    python: str = ""  # its version; "" for a program in another language
    gil: bool | None = None  # whether its lock is on once the server's modules are imported
    versions: dict[str, str] = {}  # of the framework and the dependencies, by distribution
    notes: tuple[str, ...] = ()  # the server's remarks that hold on it

    @property
    def depended_on(self) -> dict[str, str]:
        """The versions that the outcome of a check depends on."""
        return {**self.versions, "python": self.python}


class Load(Struct, frozen=True, omit_defaults=False):
    """What the clients of one trial do: one point of a workload."""

    kind: Kind
    clients: Clients
    message_bytes: Annotated[int, Meta(ge=16, le=64 * 1024 * 1024)]
    # closed: messages each client keeps on their way
    depth: Annotated[int, Meta(ge=1, le=1000)]
    warmup_s: Annotated[float, Meta(ge=0, le=3600)]
    duration_s: Annotated[float, Meta(ge=0.01, le=86400)]  # the measured slice, at least
    # open: messages/s of all clients together
    rate: Annotated[float, Meta(ge=0, le=10_000_000)] = 0.0
    arrivals: Arrivals = ""  # open: how the intended times are drawn
    # closed, churn: the longest that a slice may become where round trips are long
    ceiling_s: Annotated[float, Meta(ge=0.01, le=86400)] = 60.0

    @property
    def label(self) -> str:
        """What distinguishes this load from others at the same client count."""
        depth = f" x{self.depth}" if self.depth > 1 else ""
        rate = f" {self.rate:,.0f}/s {self.arrivals}" if self.kind == "open" else ""
        return f"{self.kind} {self.message_bytes} B{depth}{rate}"


class Search(Struct, frozen=True):
    """Looks for the highest client count at which a server still meets a service level.

    Met: every client served, no error, no echo lost, and p99 at most p99_ms. The counts
    between least and most are tried by doubling, then by halving the gap, until what held
    and what did not are `within` (a share) of each other.
    """

    least: Clients
    most: Clients
    p99_ms: Annotated[float, Meta(ge=0.001, le=3_600_000)] = 100.0
    within: Annotated[float, Meta(ge=0.0001, le=1)] = 0.01


class Workload(Struct, frozen=True):
    """A declared session: which servers, which loads, how many blocks."""

    name: Name
    title: str
    servers: tuple[str, ...]  # names, or @tier for all of a tier
    blocks: Annotated[int, Meta(ge=1, le=10_000)]
    loads: Annotated[tuple[Load, ...], Meta(min_length=1, max_length=1000)]
    reference: str  # the server that the others are compared with
    control: bool  # whether the reference is entered a second time, under another name
    # how often a gated trial is repeated at most
    repeats: Annotated[int, Meta(ge=0, le=2)]
    # connections in flight while the clients connect
    connecting: Annotated[int, Meta(ge=1, le=100_000)]
    # until every client's first echo has come
    connect_timeout_s: Annotated[float, Meta(ge=0.01, le=3600)]
    # how long after the slice the last echoes may take
    drain_s: Annotated[float, Meta(ge=0, le=3600)]
    search: Search | None = None  # clients of the one load are then what is looked for
    processes: Annotated[int, Meta(ge=1, le=1000)] = 1  # of each server
    sharing: tuple[Sharing, ...] = ("one-socket",)  # with several: each way is entered


class Trial(Struct, frozen=True):
    """One server under one load, once."""

    block: Whole
    position: Whole  # its place in the block's random order
    server: Name
    load: Load

    @property
    def key(self) -> str:
        """Names the trial within its session."""
        return f"{self.block:03d}-{self.position:03d}-{self.server}-{self.load.clients}"

    @property
    def log(self) -> str:
        """The name of its log file, within the 255 bytes that a file system takes."""
        return f"{self.key[:60]}.log"


class Plan(Struct, frozen=True):
    """Every trial of a session, in the order they run."""

    workload: Workload
    # the control among them
    servers: Annotated[tuple[Server, ...], Meta(min_length=1)]
    trials: tuple[Trial, ...]
    seed: Whole
    control: str = ""  # the name under which the reference is entered again; "" for none


class Goal(Struct, frozen=True):
    """Blocks on request: how narrow every ratio's interval is to be, and when to give up."""

    precision: Real  # 0.03: each end within 3 % of the ratio
    max_blocks: Whole
    time_s: Real | None = None


class Latency(Struct, frozen=True):
    """Percentiles in µs, and the histogram they came from.

    A percentile with fewer than 100 samples beyond it is None (see docs/method.md).
    """

    count: Whole
    p50_us: Real | None
    p90_us: Real | None
    p99_us: Real | None
    p999_us: Real | None
    max_us: Real | None
    histogram: str = ""  # HdrHistogram V2, base64; values in ns


class Memory(Struct, frozen=True):
    """What a server's processes hold, and what the kernel holds for the whole machine."""

    pss_bytes: Whole  # allocated: heap, stacks, shared memory; mapped files left out
    private_bytes: Whole  # pages that nobody else has
    shared_bytes: Whole  # pages that others have, too
    kernel_stacks_bytes: Whole | None = None  # of all threads of the machine
    sockets_bytes: Whole | None = None  # buffers of all TCP sockets of the machine
    slab_bytes: Whole | None = None  # the kernel's own objects: sockets, files and all else
    page_tables_bytes: Whole | None = None  # of the server's processes


class ServerUse(Struct, frozen=True):
    """What the server used during the measured slice (cpu) or held; its whole process tree."""

    cpu_s: Real | None = None  # of its processes, those that ended meanwhile included
    busy_cores: Real | None = None  # of the cores that it is pinned to, whoever kept them busy
    read_s: Real | None = None  # between the two readings of its CPU, around the slice
    interrupts_apart: bool | None = None  # the kernel keeps their time out of cpu_s; None: unknown
    cores: Whole | None = None  # that it is pinned to
    before: Memory | None = None  # serving, no client
    after: Memory | None = None  # every client connected and echoed once
    loaded: Memory | None = None  # after the slice, all clients still connected
    processes_max: Whole | None = None
    threads_max: Whole | None = None
    descriptors_max: Whole | None = None  # of the process that has most
    accept_queue_max: Whole | None = None
    accept_queue_limit: Whole | None = None
    listen_overflows: Whole | None = None  # connections dropped, as a listener's queue was full


class Noise(Struct, frozen=True):
    """What the machine did besides the trial, while its slice ran."""

    steal_share: Real | None = None  # of the cores' time, taken by the hypervisor
    others_cores: Real | None = None  # cores that other processes kept busy
    watched_s: Real | None = None  # how long that was: from the barrier to the last echo
    others_within_cores: Real | None = None  # how far off that may be


class Host(Struct, frozen=True):
    """One of several machines, and what it had to do with a trial."""

    name: str
    role: Literal["server", "client"]
    clients: Whole = 0
    workers: Whole = 0
    cpu_share: Real | None = None  # of the busiest core that its workers have, in the slice
    lag_p99_us: Real | None = None  # open loop: of its workers' schedule
    noise: Noise = Noise()


class Measurement(Struct, frozen=True):
    """What came of one trial. Every field but the first two may be unknown."""

    trial: Trial
    status: Status
    reason: str = ""
    started_at: str = ""  # UTC, ISO 8601
    connected: Whole | None = None
    served: Whole | None = None  # clients that had at least one echo
    connect_s: Real | None = None  # until every client had its first echo
    duration_s: Real | None = None
    messages: Whole | None = None
    messages_per_s: Real | None = None
    lost: Whole | None = None
    altered: Whole | None = None
    errors: dict[str, Whole] = {}
    latency: Latency | None = None  # open loop: from the intended send
    latency_from_send: Latency | None = None  # open loop
    schedule_lag: Latency | None = None  # open loop: actual send minus intended send
    rate_achieved: Real | None = None  # open loop: messages/s sent
    bins: tuple[tuple[Whole, Whole], ...] = ()  # ns since the load began, echoes so far
    intervals: str = ""  # latencies by time within the slice; see clients/README.md
    longest_stall_s: Real | None = None  # in the slice: messages waited and nobody was answered
    longest_stall_at_s: Real | None = None  # when it began, since the slice's start
    stalls: Whole | None = None  # of 10 ms or longer, in the slice
    slice_s: Real | None = None  # how long the slice was to be
    slice_at_s: Real | None = None  # when it began, by CLOCK_MONOTONIC (one machine alone)
    round_trip_s: Real | None = None  # closed, churn: a client's, as seen in the warm-up
    at_ceiling: bool = False  # the slice would have been longer, had its ceiling allowed it
    little: Real | None = None  # closed: rate × mean latency ÷ clients answered ÷ depth
    engine_cpu_s: Real | None = None  # of the suite's own process, in the slice
    gates: tuple[str, ...] = ()  # why the trial is rejected
    attempt: Whole = 0  # 0, then one more for each repeat of a gated trial
    client_cpu_share: Real | None = None  # of the busiest core that workers have, in the slice
    client_cpu_s: Real | None = None  # of all workers, in the slice
    one_core: bool = False  # server and workers had to share one
    workers: Whole = 1
    client_bytes_per_connection: Real | None = None
    fairness: Real | None = None  # Jain's index over the clients' message counts
    slowest_share: Real | None = None  # the slowest client's echoes, over an even share
    clients_without_echo: Whole | None = None  # in the measured slice
    retried: Whole | None = None  # storm, churn: clients for which the kernel sent again
    launched_s: Real | None = None  # storm: until the last client began to connect
    server: ServerUse = ServerUse()
    noise: Noise = Noise()
    hosts: tuple[Host, ...] = ()  # of several machines: each; none for one alone
    start_spread_s: Real | None = None  # of several machines: their starts lay within
    vanished: str = ""  # the host that was gone before the trial's end
    pinned: str = ""
    versions: dict[str, str] = {}
    python: str = ""  # the interpreter's version; "" for a program in another language
    gil: bool | None = None  # whether its lock was on once the server's modules were imported
    notes: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether its figures stand: it ended well, and no gate rejected it."""
        return self.status == "ok" and not self.gates


class CaseResult(Struct, frozen=True):
    """One conformance case on one server."""

    case: str
    verdict: Grade  # unclean: shown, still timed; informational: told, not judged
    detail: str = ""
    took_s: Real = 0.0


class Conformance(Struct, frozen=True):
    """What the conformance kit found for one server file with one set of versions."""

    server: str
    checked_at: str  # UTC, ISO 8601
    fingerprint: str  # of the server's files, the interpreter, the versions and the kit
    results: tuple[CaseResult, ...]

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        return tuple(result for result in self.results if result.verdict == "failed")

    @property
    def failure(self) -> str:
        """The first failure in words; "" when there is none."""
        first = next(iter(self.failures), None)
        return f"fails the check {first.case}: {first.detail}" if first else ""


class Session(Struct, frozen=True):
    """All blocks and the machine they ran on."""

    schema: int
    c10k: str  # the suite's version
    started_at: str
    plan: Plan
    environment: Environment
    conformance: dict[str, Conformance]
    goal: Goal | None = None
    code: dict[str, str] = {}  # server → digest of its files
    runtimes: dict[str, Runtime] = {}  # server → what it ran on; no paths
    mixed: tuple[str, ...] = ()  # what had changed when it was resumed all the same
    finished_at: str = ""  # UTC, ISO 8601; "": it has not been closed as finished
    altered: bool = False  # its trials are no longer those that it was finished with
    measurements: tuple[Measurement, ...] = ()


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
    load: str
    clients: int
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
    limiter: str = ""
    versions: dict[str, str] = {}  # of its framework and dependencies
    python: str = ""  # the interpreter that ran it
    gil: bool | None = None
    hosts: str = ""  # of several machines: the server's and the clients'
    start_spread_s: Spread | None = None
    notes: tuple[str, ...] = ()


class NoiseFloor(Struct, frozen=True):
    """The reference against itself under one load: nothing smaller is claimed."""

    load: str
    clients: int
    ratio: Ratio


class Compared(Struct, frozen=True):
    """One figure of one server under one load on two sides (or of two servers in one session).

    broken: A has figures that stand and B has none; mended: the other way round;
    incomparable: neither has. farther, nearer: of the breaking point that a search found.
    """

    server: str
    load: str
    clients: int
    figure: str
    primary: bool  # the figure that this kind of load is about
    a: Spread | None
    b: Spread | None
    ratio: Ratio | None  # b over a; a breaking point's ends: what its searches leave open
    verdict: ComparedVerdict
    reason: str = ""  # of a verdict that no figure shows
    a_bound: bool = False  # the client was the limit: A is at least as good as this
    b_bound: bool = False


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


class Figure(Struct, frozen=True):
    """A median over repetitions and its 95 % interval; no ends: too few to say."""

    name: str
    median: Real
    low: Real | None
    high: Real | None
    repetitions: Whole
    unit: str = ""


class Part(Struct, frozen=True):
    """One of the things that a claim says, and what the evidence says of it."""

    what: str
    decision: Decision  # "": shown for comparison, decides nothing
    figures: tuple[Figure, ...] = ()


class Outcome(Struct, frozen=True):
    """A claim after its experiment."""

    claim: str
    words: str
    experiment: str
    rule: str
    decision: Decision
    parts: tuple[Part, ...]
    reason: str = ""  # why the experiment could not be made
    samples: dict[str, tuple[Real, ...]] = {}  # the evidence: one value a repetition
    took_s: Real = 0.0
    noise: Noise = Noise()


class ClaimsHead(Struct, frozen=True):
    """When, where and how outcomes were made."""

    schema: int
    c10k: str
    started_at: str
    quick: bool
    ladder: str  # the session that some claims were decided by
    environment: Environment
