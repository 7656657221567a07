"""The kinds of load, and everything in which they differ: one table.

Plans, driving, gates, verdicts and tables differ by kind only in what a row of KINDS says.
Another kind needs a name in Kind, a row of KINDS, a function of the client
(clients/echo_client.py) and a test. A kind that is searched needs no function of the client:
its trials consist of open loops (run/capacity.py).
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Kind = Literal["closed", "open", "storm", "idle", "churn", "capacity"]

# What a figure means when the client was the limit: the server is at least this good (≥ or ≤), or
# the figure differs from that at the server's own limit (~). With a faster client every rate
# would be higher and every latency lower, and clients that seem to be served unevenly may have
# been delayed by the busy client. CPU time per message is not a bound: a server that waits for
# its client wakes up for fewer messages at a time.
_LATENCIES = ("latency_p50_us", "latency_p99_us", "latency_p999_us", "longest_stall_s")
_SATURATED = (
    dict.fromkeys((*_LATENCIES, "longest_silence_s", "clients_without_echo"), "≤ ")
    | dict.fromkeys(("messages_per_s", "fairness", "slowest_share"), "≥ ")
    | dict.fromkeys(("server_cpu_us_per_message", "cpu_over_floor"), "~ ")
)


class KindFacts(Struct, frozen=True):
    """The properties of one kind of load."""

    title: str  # the heading of its table
    primary: str  # the figure that servers are ranked by
    words: tuple[str, str] = ("faster", "slower")  # for a better and for a worse primary figure
    secondary: str = ""  # the figure that is shown beside it where a table has little room

    # how it runs
    waits_at_barrier: bool = True  # every client has had an echo before the load begins
    warm_up: bool = True  # otherwise the slice begins with the load
    in_rounds: bool = False  # the slice's length follows the round trip
    closed_loop: bool = False  # messages wait for the previous echo; the slice ends with a round
    scheduled: bool = False  # messages leave at a rate that the workload gives
    reconnects: bool = False  # each message has its own connection and port
    clients_arrive: bool = False  # clients connect in the slice and may queue to be accepted
    searched: bool = False  # a trial is a search: open loops at one rate after another

    # how its figures are read
    rate: bool = True  # it has messages/s and keeps a server busy
    lasts_as_planned: bool = True  # otherwise the slice ends with the last client's echo
    stays: bool = False  # clients keep sending, so that silence and starvation show
    tail: bool = False  # its figure is a p99, which 1 % of the time decides
    busy_client: float | None = 0.9  # share of a core: a client that used more was the limit
    bounds: Mapping[str, str] = {}  # figure → sign when the client was the limit


KINDS: dict[Kind, KindFacts] = {
    "closed": KindFacts(
        title="Closed loop: a client sends its next message when the echo has come",
        primary="messages_per_s",
        secondary="fairness",
        in_rounds=True,
        closed_loop=True,
        stays=True,
        bounds=_SATURATED,
    ),
    "open": KindFacts(
        title="Open loop: messages leave on a schedule that does not wait",
        primary="latency_p99_us",
        secondary="latency_p999_us",
        scheduled=True,
        stays=True,
        tail=True,
        busy_client=None,  # it spins while it waits; the schedule's lag says when it is late
        bounds=dict.fromkeys((*_LATENCIES, "stalls_per_s"), "≤ "),
    ),
    "storm": KindFacts(
        title="Storm: all clients connect at once; latency is to a client's first echo",
        primary="latency_p99_us",
        secondary="connect_s",
        waits_at_barrier=False,
        warm_up=False,
        clients_arrive=True,
        lasts_as_planned=False,
        tail=True,
        busy_client=0.8,  # the slice includes the wait for the last echo
        bounds=_SATURATED | {"connect_s": "≤ "},
    ),
    "idle": KindFacts(
        title="Idle: clients stay and say nothing, then echo once",
        primary="memory_per_client_bytes",
        secondary="own_memory_per_client_bytes",
        words=("less", "more"),
        warm_up=False,
        rate=False,
        busy_client=None,
    ),
    "churn": KindFacts(
        title="Churn: clients come and go, each says one message; latency is to its echo",
        primary="messages_per_s",
        secondary="latency_p99_us",
        in_rounds=True,
        reconnects=True,
        clients_arrive=True,
        bounds=_SATURATED,
    ),
    "capacity": KindFacts(
        title="Capacity: the greatest rate, in messages/s, that keeps the service level",
        primary="capacity_per_s",
        secondary="latency_p99_us",
        words=("more", "less"),
        scheduled=True,
        stays=True,
        tail=True,
        busy_client=None,
        searched=True,
        bounds={"capacity_per_s": "≥ "},
    ),
}
