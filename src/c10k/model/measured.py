"""What is measured: the results of one trial, and the session that it belongs to."""

from typing import Literal

from msgspec import Struct

from .checked import Conformance
from .declared import BoundedFloat, BoundedInt, Environment, Goal, Plan, Runtime, Trial

Status = Literal["ok", "failed", "not run"]


class Latency(Struct, frozen=True):
    """Percentiles in µs, and the histogram that they were computed from.

    A percentile with fewer than 100 samples beyond it is None (see docs/method.md).
    """

    count: BoundedInt
    p50_us: BoundedFloat | None
    p90_us: BoundedFloat | None
    p99_us: BoundedFloat | None
    p999_us: BoundedFloat | None
    max_us: BoundedFloat | None
    histogram: str = ""  # HdrHistogram V2, base64; values in ns


class Memory(Struct, frozen=True):
    """Memory of a server's processes, and memory of the kernel for the whole machine."""

    pss_bytes: BoundedInt  # allocated: heap, stacks, shared memory, without mapped files
    private_bytes: BoundedInt  # pages that no other process has
    shared_bytes: BoundedInt  # pages that other processes have, too
    kernel_stacks_bytes: BoundedInt | None = None  # of all threads of the machine
    sockets_bytes: BoundedInt | None = None  # buffers of all TCP sockets of the machine
    slab_bytes: BoundedInt | None = None  # the kernel's own objects, such as sockets and files
    page_tables_bytes: BoundedInt | None = None  # of the server's processes


class Worker(Struct, frozen=True):
    """One of the processes or threads that serve a server's clients."""

    cpu_s: BoundedFloat | None  # in the slice
    clients: BoundedInt  # that it holds after the slice


class ServerUse(Struct, frozen=True):
    """CPU time that the server's process tree used in the slice, and what the tree held."""

    cpu_s: BoundedFloat | None = None  # of its processes, also of those that ended
    busy_cores: BoundedFloat | None = None  # of its pinned cores, by whichever process
    read_s: BoundedFloat | None = None  # between the two readings of its CPU, around the slice
    interrupts_apart: bool | None = None  # cpu_s lacks their time; None: unknown
    cores: BoundedInt | None = None  # how many it is pinned to
    before: Memory | None = None  # while serving no client
    after: Memory | None = None  # when every client has connected and had one echo
    loaded: Memory | None = None  # after the slice, with all clients still connected
    processes_max: BoundedInt | None = None
    threads_max: BoundedInt | None = None
    descriptors_max: BoundedInt | None = None  # of the process that has the most
    accept_queue_max: BoundedInt | None = None
    accept_queue_limit: BoundedInt | None = None
    listen_overflows: BoundedInt | None = None  # connections dropped by full listener queues
    gil: bool | None = None  # whether the interpreter's lock was on after the slice; None: unknown
    workers: tuple[Worker, ...] = ()  # processes or threads, if several serve


class Noise(Struct, frozen=True):
    """What else the machine did while a trial's slice ran."""

    steal_share: BoundedFloat | None = None  # of the cores' time, taken by the hypervisor
    others_cores: BoundedFloat | None = None  # cores that other processes kept busy
    watched_s: BoundedFloat | None = None  # how long it was observed: from barrier to last echo
    others_within_cores: BoundedFloat | None = None  # the error of others_cores


class Host(Struct, frozen=True):
    """One of several machines, and its part in a trial."""

    name: str
    role: Literal["server", "client"]
    clients: BoundedInt = 0
    workers: BoundedInt = 0
    cpu_share: BoundedFloat | None = None  # of its workers' busiest core, in the slice
    lag_p99_us: BoundedFloat | None = None  # open loop: how late its workers sent or read
    noise: Noise = Noise()


class Step(Struct, frozen=True):
    """One open loop of a capacity's trial: a rate, and how the server did at it."""

    rate: BoundedFloat  # messages/s, as planned
    kept: bool | None = None  # whether the service level was kept; None: the step was rejected
    share: BoundedFloat = 0.0  # of the capacity that had been found; 0: a step of the search
    status: Status = "ok"
    why: str = ""  # why the level was missed, or the step rejected, in words
    bound: bool = False  # client or others were the limit: latencies are at most what is here
    p50_us: BoundedFloat | None = None
    p99_us: BoundedFloat | None = None
    longest_stall_s: BoundedFloat | None = None
    cpu_us_per_message: BoundedFloat | None = None  # of the server
    cores: BoundedInt | None = None  # that the server had

    @property
    def decides(self) -> bool:
        """Whether it says where the capacity lies: a step of the search that was not rejected."""
        return self.kept is not None and not self.share


GateKind = Literal["host", "steal", "others", "engine", "slice", "little", "reading", "rate"]
# What a failed trial ran out of; "": not known.
Cause = Literal["", "descriptors", "ports", "threads", "memory", "connecting"]


class Gate(Struct, frozen=True):
    """Why a trial's figures are rejected. Code uses the kind; the words are for people."""

    kind: GateKind
    words: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.words}"


class Measurement(Struct, frozen=True):
    """The result of one trial. Every field except the first two may be unknown."""

    trial: Trial
    status: Status
    reason: str = ""  # why it failed, in words
    cause: Cause = ""  # what a failed trial ran out of, if known
    started_at: str = ""  # UTC, ISO 8601
    connected: BoundedInt | None = None
    served: BoundedInt | None = None  # clients that had at least one echo
    connect_s: BoundedFloat | None = None  # until every client had its first echo
    duration_s: BoundedFloat | None = None
    messages: BoundedInt | None = None
    messages_per_s: BoundedFloat | None = None
    lost: BoundedInt | None = None
    altered: BoundedInt | None = None
    errors: dict[str, BoundedInt] = {}
    tls: str = ""  # the protocol and the cipher that the first client negotiated; "" without TLS
    loops: str = ""  # what drove the clients: C or asyncio; "": not recorded
    latency: Latency | None = None  # open loop: from the intended send
    latency_from_send: Latency | None = None  # open loop
    # open loop, but not of a mix: what the latency surely was without the client's own lateness
    latency_least: Latency | None = None
    schedule_lag: Latency | None = None  # open loop: actual send minus intended send
    read_lag: Latency | None = None  # open loop: how long ago, at least, a read echo had come
    latency_by_request: tuple[Latency, ...] = ()  # of each request of the load's mix, in order
    rate_achieved: BoundedFloat | None = None  # open loop: messages/s sent
    bins: tuple[tuple[BoundedInt, BoundedInt], ...] = ()  # (ns since the load began, echoes so far)
    intervals: str = ""  # latencies by time within the slice; see clients/README.md
    longest_stall_s: BoundedFloat | None = None  # messages waited, no echo came
    longest_stall_at_s: BoundedFloat | None = None  # when it began, from the slice's start
    stalls: BoundedInt | None = None  # of 10 ms or longer, in the slice
    slice_s: BoundedFloat | None = None  # the planned length of the slice
    slice_at_s: BoundedFloat | None = None  # its start by CLOCK_MONOTONIC (only on one machine)
    round_trip_s: BoundedFloat | None = None  # closed, churn: in the warm-up
    at_ceiling: bool = False  # whether ceiling_s cut the slice short
    little: BoundedFloat | None = None  # closed: rate × mean latency ÷ clients answered ÷ depth
    engine_cpu_s: BoundedFloat | None = None  # of the suite's own process, in the slice
    gates: tuple[Gate, ...] = ()  # why the trial is rejected
    attempt: BoundedInt = 0  # 0, or the number of the repeat
    client_cpu_share: BoundedFloat | None = None  # of the workers' busiest core, in the slice
    client_cpu_s: BoundedFloat | None = None  # of all workers, in the slice
    shared_cores: tuple[BoundedInt, ...] = ()  # of the server, on which workers ran, too
    # In old sessions: server and workers shared the only core, and client_cpu_share lacks what
    # the server took of it.
    one_core: bool = False
    workers: BoundedInt = 1
    client_bytes_per_connection: BoundedFloat | None = None
    fairness: BoundedFloat | None = None  # Jain's index over the clients' message counts
    slowest_share: BoundedFloat | None = None  # the slowest client's echoes over an even share
    clients_without_echo: BoundedInt | None = None  # in the measured slice
    retried: BoundedInt | None = None  # storm, churn: clients for which the kernel retransmitted
    launched_s: BoundedFloat | None = None  # storm: until the last client began to connect
    server: ServerUse = ServerUse()
    noise: Noise = Noise()
    hosts: tuple[Host, ...] = ()  # each of several machines; empty for one machine
    start_spread_s: BoundedFloat | None = None  # several machines: their starts lay within this
    vanished: str = ""  # the host that was gone before the trial ended
    pinned: str = ""
    versions: dict[str, str] = {}
    python: str = ""  # the interpreter's version; "" for a program in another language
    gil: bool | None = None  # whether the GIL was on once the server's modules were imported
    notes: tuple[str, ...] = ()
    # capacity: the greatest rate that kept the level, in messages/s; the other figures are those
    # of the last step at that rate
    capacity_per_s: BoundedFloat | None = None
    fails_at_per_s: BoundedFloat | None = None  # capacity: the least greater rate that missed it
    client_bound: bool = False  # capacity: the client was the limit where the level was missed
    steps: tuple[Step, ...] = ()  # capacity: in the order in which they ran

    @property
    def accepted(self) -> bool:
        """Whether its figures count: it ended well, and no gate rejected it."""
        return self.status == "ok" and not self.gates

    @property
    def shares_core(self) -> bool:
        """Whether workers ran on a core of the server, and so took from what it could have."""
        return self.one_core or bool(self.shared_cores)


class Session(Struct, frozen=True):
    """The plan, the measurements, and the machine and software that produced them."""

    schema: int
    c10k: str  # the suite's version
    started_at: str
    plan: Plan
    environment: Environment
    conformance: dict[str, Conformance]
    goal: Goal | None = None
    code: dict[str, str] = {}  # server → digest of its files
    runtimes: dict[str, Runtime] = {}  # server → what it ran on, without paths
    mixed: tuple[str, ...] = ()  # what had changed when it was resumed with --force
    finished_at: str = ""  # UTC, ISO 8601; "": it is not finished
    altered: bool = False  # whether its trials have changed since it was finished
    measurements: tuple[Measurement, ...] = ()
