"""What is declared: servers, workloads, and the plan made of them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .kinds import KINDS, Kind, KindFacts

Sharing = Literal["", "one-socket", "reuseport"]
Arrivals = Literal["", "poisson", "constant"]

Tier = Literal["canonical", "variant", "tuned", "floor"]

# A server's or a workload's: part of file names, so no path, and whole in UTF-8.
Name = Annotated[str, Meta(pattern=r"\A\w[^/\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z", max_length=200)]
OneLine = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]
# A version specifier or a requirement: Python converts no number of 5,000 digits.
Specified = Annotated[str, Meta(max_length=1000)]
BoundedInt = Annotated[int, Meta(ge=-(10**15), le=10**15)]
BoundedFloat = Annotated[float, Meta(ge=-1e15, le=1e15)]
Clients = Annotated[int, Meta(ge=1, le=10_000_000)]
MessageBytes = Annotated[int, Meta(ge=16, le=64 * 1024 * 1024)]
Depth = Annotated[int, Meta(ge=1, le=1000)]
Rate = Annotated[float, Meta(ge=0, le=10_000_000)]
Blocks = Annotated[int, Meta(ge=1, le=10_000)]
Repeats = Annotated[int, Meta(ge=0, le=2)]
Processes = Annotated[int, Meta(ge=1, le=1000)]
Connecting = Annotated[int, Meta(ge=1, le=100_000)]
SliceSeconds = Annotated[float, Meta(ge=0.01, le=86400)]
TimeoutSeconds = Annotated[float, Meta(ge=0.01, le=3600)]
WaitSeconds = Annotated[float, Meta(ge=0, le=3600)]
# What a machine says of itself.
EnvironmentValue = str | bool | int | float | list[str | int | float] | None
Environment = dict[str, dict[str, EnvironmentValue]]


class Note(Struct, frozen=True, forbid_unknown_fields=True):
    """A remark that a server's rows carry when it runs on a matching interpreter."""

    python: Specified  # e.g. ">=3.12"
    text: str


class Server(Struct, frozen=True):
    """One contender file, as its PEP 723 block (or its .toml) describes it."""

    name: Name  # the file's stem
    path: OneLine  # within the suite relative to it, under the home ~/…, else absolute
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
    processes: Processes = 1  # copies of it that serve together
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
    message_bytes: MessageBytes
    depth: Depth  # closed: messages each client keeps on their way
    warmup_s: WaitSeconds
    duration_s: SliceSeconds  # the measured slice, at least
    rate: Rate = 0.0  # open: messages/s of all clients together
    arrivals: Arrivals = ""  # open: how the intended times are drawn
    # closed, churn: the longest that a slice may become where round trips are long
    ceiling_s: SliceSeconds = 60.0

    @property
    def facts(self) -> KindFacts:
        """What is known of its kind."""
        return KINDS[self.kind]

    @property
    def label(self) -> str:
        """What distinguishes this load from others at the same client count."""
        depth = f" x{self.depth}" if self.depth > 1 else ""
        rate = f" {self.rate:,.0f}/s {self.arrivals}" if self.facts.scheduled else ""
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
    blocks: Blocks
    loads: Annotated[tuple[Load, ...], Meta(min_length=1, max_length=1000)]
    reference: str  # the server that the others are compared with
    control: bool  # whether the reference is entered a second time, under another name
    repeats: Repeats  # how often a gated trial is repeated at most
    connecting: Connecting  # connections in flight while the clients connect
    connect_timeout_s: TimeoutSeconds  # until every client's first echo has come
    drain_s: WaitSeconds  # how long after the slice the last echoes may take
    search: Search | None = None  # clients of the one load are then what is looked for
    processes: Processes = 1  # of each server
    sharing: tuple[Sharing, ...] = ("one-socket",)  # with several: each way is entered


class Trial(Struct, frozen=True):
    """One server under one load, once."""

    block: BoundedInt
    position: BoundedInt  # its place in the block's random order
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
    seed: BoundedInt
    control: str = ""  # the name under which the reference is entered again; "" for none


class Goal(Struct, frozen=True):
    """Blocks on request: how narrow every ratio's interval is to be, and when to give up."""

    precision: BoundedFloat  # 0.03: each end within 3 % of the ratio
    max_blocks: BoundedInt
    time_s: BoundedFloat | None = None
