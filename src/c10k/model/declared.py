"""What is declared: servers and workloads, and the plan that is made from them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .kinds import KINDS, Kind, KindFacts

Sharing = Literal["", "one-socket", "reuseport"]
Arrivals = Literal["", "poisson", "constant"]
Client = Literal["", "C", "asyncio"]  # what drives the clients; "": C wherever it can

# What a handler does before it echoes a request; see servers/working/README.md.
Work = Literal["wait", "block", "call", "offload", "hold", "free", "keep"]
Needs = Literal["", "redis"]

Tier = Literal["canonical", "variant", "tuned", "floor", "backend", "tls"]

# The name of a server or a workload. It is part of file names, so it has no slash, and it can
# be encoded in UTF-8.
Name = Annotated[str, Meta(pattern=r"\A\w[^/\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z", max_length=200)]
OneLine = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z")]
# A version specifier or a requirement, bounded because Python refuses numbers of 5,000 digits.
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
# How many cores the server may use; 0: one for each of its processes; "all": all that are there.
ServerCores = Annotated[int, Meta(ge=0, le=100_000)] | Literal["all"]
Connecting = Annotated[int, Meta(ge=1, le=100_000)]
SliceSeconds = Annotated[float, Meta(ge=0.01, le=86400)]
TimeoutSeconds = Annotated[float, Meta(ge=0.01, le=3600)]
WorkMilliseconds = Annotated[float, Meta(ge=0.1, le=9999)]
Kibibytes = Annotated[int, Meta(ge=0, le=65_536)]
Share = Annotated[int, Meta(ge=1, le=1000)]
WaitSeconds = Annotated[float, Meta(ge=0, le=3600)]
# A value that describes the machine.
EnvironmentValue = str | bool | int | float | list[str | int | float] | None
Environment = dict[str, dict[str, EnvironmentValue]]


Level = Annotated[float, Meta(ge=0.0, le=3_600_000)]  # a p99, ms
Within = Annotated[float, Meta(ge=0.0, le=1)]
LoadShare = Annotated[float, Meta(gt=0, lt=1)]


class Note(Struct, frozen=True, forbid_unknown_fields=True):
    """A remark that is shown with a server's rows when it runs on a matching interpreter."""

    python: Specified  # e.g. ">=3.12"
    text: str


class Server(Struct, frozen=True):
    """One contender file, as its PEP 723 block (or its .toml) describes it."""

    name: Name  # the file's stem
    path: OneLine  # relative to the suite if within it, ~/… if under the home, else absolute
    title: str
    model: str  # thread per client, greenlets, callbacks, coroutines ...
    unit: str  # thread, greenlet, task, protocol object ...
    tier: Tier
    framework: str = ""  # the distribution whose version is recorded; "" for none
    requires_python: Specified = ""
    dependencies: tuple[Specified, ...] = ()
    notes: tuple[Note, ...] = ()
    base: OneLine = ""  # the Python server that this one is with a hook; a name as path is
    hook: OneLine = ""  # what runs before the base's last statement, the one that serves
    build: tuple[str, ...] = ()  # command; {out} is the binary, {here} the file's folder
    start: tuple[str, ...] = ()  # command; empty: started by the interpreter
    prefers: str = ""  # the interpreter to isolate it on, if the machine has it: "3.11"
    free_threaded: bool = False  # whether its packages need an interpreter without the GIL
    glibc: Specified = ""  # the C libraries that its packages are built for: ">=2.39"
    io_uring: Specified = ""  # the Linux versions whose io_uring has what it uses: ">=5.19"
    tls: bool = False  # whether it speaks TLS
    reuseport: bool = False  # whether it opens more sockets on the same address (SO_REUSEPORT)
    needs: Needs = ""  # what runs beside it, and is asked by it
    python: str = ""  # the interpreter that was requested: a path, "3.13", "python3.14t"
    interpreter: str = ""  # what that is called in the server's name, after an @
    isolated: bool = False  # whether it has an environment of its own
    processes: Processes = 1  # how many copies of it serve together
    sharing: Sharing = ""  # of several processes: one socket, or one each (SO_REUSEPORT)

    @property
    def program(self) -> str:
        """The file that an interpreter runs, named as path is."""
        return self.base or self.path

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it is made of, each named as path is."""
        return tuple(filter(None, (self.path, self.base, self.hook)))


class Runtime(Struct, frozen=True):
    """The interpreter that a server runs on, and the versions of its packages."""

    executable: str  # the interpreter's path
    python: str = ""  # its version; "" for a program in another language
    gil: bool | None = None  # whether the GIL is on once the server's modules are imported
    versions: dict[str, str] = {}  # distribution → version: framework and dependencies
    notes: tuple[str, ...] = ()  # the server's remarks that apply to this interpreter
    build: tuple[str, ...] = ()  # the options of the interpreter's build that affect its speed

    @property
    def depended_on(self) -> dict[str, str]:
        """The versions that the result of a check depends on."""
        return {**self.versions, "python": self.python}


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the requests of a load's mix: the work that it asks a handler for."""

    work: Work
    ms: WorkMilliseconds  # how long the work takes, in tenths of a millisecond
    share: Share = 1  # of the sum of all shares of the mix
    kib: Kibibytes = 0  # keep: the memory that it takes for that time

    @property
    def label(self) -> str:
        memory = f" {self.kib:,} KiB" if self.kib else ""
        return f"{self.work}{memory} {self.ms:g} ms"


class Load(Struct, frozen=True, omit_defaults=False):
    """What the clients of one trial do: one point of a workload."""

    kind: Kind
    clients: Clients
    message_bytes: MessageBytes
    depth: Depth  # closed: messages that each client keeps in flight
    warmup_s: WaitSeconds
    duration_s: SliceSeconds  # of the measured slice, at least
    # open: messages/s of all clients together; capacity: the first rate that is tried
    rate: Rate = 0.0
    arrivals: Arrivals = ""  # open, capacity: how the intended times are drawn
    # closed, churn: the longest that the slice may last when round trips are long
    ceiling_s: SliceSeconds = 60.0
    p99_ms: Level = 0.0  # capacity: the service level, the greatest p99 that keeps it
    within: Within = 0.0  # capacity: how close the rates that keep and miss it must be, a share
    # capacity: once it is found, latency is measured at these shares of it
    shares: tuple[LoadShare, ...] = ()
    # open, capacity: each message is one of these requests, in place of message_bytes of anything
    mix: tuple[Request, ...] = ()
    client: Client = ""

    @property
    def facts(self) -> KindFacts:
        """The properties of its kind."""
        return KINDS[self.kind]

    @property
    def label(self) -> str:
        """The text that distinguishes this load from others with the same client count."""
        depth = f" x{self.depth}" if self.depth > 1 else ""
        rate = f" {self.rate:,.0f}/s {self.arrivals}" if self.facts.scheduled else ""
        if self.facts.searched:
            rate = f" p99 {self.p99_ms:g} ms {self.arrivals}"
        said = self._mixed() if self.mix else f"{self.message_bytes} B"
        client = f", {self.client} client" if self.client else ""
        return f"{self.kind} {said}{depth}{rate}{client}"

    def _mixed(self) -> str:
        """The mix in words: 90 % wait 20 ms + 10 % hold 1 ms."""
        if len(self.mix) == 1:
            return self.mix[0].label
        total = sum(request.share for request in self.mix)
        return " + ".join(f"{100 * each.share / total:.3g} % {each.label}" for each in self.mix)


class Search(Struct, frozen=True):
    """A search for the highest client count at which a server meets a service level.

    The level is met when every client is served, there is no error, no echo is lost, and p99
    is at most p99_ms. Counts from least to most are tried by doubling, then by halving the
    gap, until the counts that hold and fail are `within` (a share) of each other.
    """

    least: Clients
    most: Clients
    p99_ms: Annotated[float, Meta(ge=0.001, le=3_600_000)] = 100.0
    within: Annotated[float, Meta(ge=0.0001, le=1)] = 0.01


class Workload(Struct, frozen=True):
    """A declared session: its servers, its loads and the number of blocks."""

    name: Name
    title: str
    servers: tuple[str, ...]  # names, or @TIER for all servers of a tier
    blocks: Blocks
    loads: Annotated[tuple[Load, ...], Meta(min_length=1, max_length=1000)]
    reference: str  # the server that all others are compared with
    control: bool  # whether the reference is entered a second time, under another name
    repeats: Repeats  # how often a gated trial may be repeated
    connecting: Connecting  # connections in flight while the clients connect
    connect_timeout_s: TimeoutSeconds  # the longest wait for every client's first echo
    drain_s: WaitSeconds  # how long the last echoes may take after the slice
    search: Search | None = None  # for the client count of the single load
    processes: Processes = 1  # of each server
    sharing: tuple[Sharing, ...] = ("one-socket",)  # of several processes: each way is entered
    # The interpreters that every server is run on; see launch.interpreter.find(). (): this one,
    # or what a server asks for itself.
    python: tuple[OneLine, ...] = ()
    server_cores: ServerCores = 0  # that all processes of a server may use


class Trial(Struct, frozen=True):
    """One run of one server under one load."""

    block: BoundedInt
    position: BoundedInt  # its place in the block's random order
    server: Name
    load: Load

    @property
    def key(self) -> str:
        """The name of the trial, unique within its session."""
        return f"{self.block:03d}-{self.position:03d}-{self.server}-{self.load.clients}"

    @property
    def log(self) -> str:
        """The name of its log file, short enough for the 255 bytes that file systems allow."""
        return f"{self.key[:60]}.log"


class Plan(Struct, frozen=True):
    """A session before it runs: its workload, its servers and its trials in order."""

    workload: Workload
    # including the control
    servers: Annotated[tuple[Server, ...], Meta(min_length=1)]
    trials: tuple[Trial, ...]
    seed: BoundedInt
    control: str = ""  # the name under which the reference is entered again; "" for none


class Goal(Struct, frozen=True):
    """How narrow every ratio's interval must be, and when to stop adding blocks."""

    precision: BoundedFloat  # 0.03: each end within 3 % of the ratio
    max_blocks: BoundedInt
    time_s: BoundedFloat | None = None
