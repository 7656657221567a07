"""What is measured: one trial, and the session that it belongs to."""

from typing import Literal

from msgspec import Struct

from .checked import Conformance
from .declared import Environment, Goal, Plan, Real, Runtime, Trial, Whole

Status = Literal["ok", "failed", "not run"]


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


GateKind = Literal["host", "steal", "others", "engine", "slice", "little", "reading", "rate"]
# What stopped a trial that failed; "": nothing of this is known.
Cause = Literal["", "descriptors", "ports", "threads", "memory", "connecting"]


class Gate(Struct, frozen=True):
    """Why a trial's figures are rejected. The kind is decided on, the words are for people."""

    kind: GateKind
    words: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.words}"


class Measurement(Struct, frozen=True):
    """What came of one trial. Every field but the first two may be unknown."""

    trial: Trial
    status: Status
    reason: str = ""  # of a failure, in words
    cause: Cause = ""  # of a failure, as far as it is known
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
    gates: tuple[Gate, ...] = ()  # why the trial is rejected
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
