"""Asynchronous servers support more than 10,000 clients, and threads do not."""

import math
from typing import NamedTuple

from msgspec.structs import replace

from c10k import paths
from c10k.claims import always, figure
from c10k.declare import catalog
from c10k.judge import figures
from c10k.model import ClaimFigure
from c10k.plan import gates
from c10k.run import store

WORDS = "Asynchronous servers support more than 10,000 clients, and threads do not."
EXPERIMENT = """
Two questions about the ladder's data (c10k.toml). Within what a server can do: 10,000 clients or
more that send at a fixed rate (open loop), where the server was less than 90 % busy; a busier one
is at its limit, and shows nothing about clients. Served: every client had an echo, none failed, no
echo was lost or altered, and at the slice's end no more was on its way than 2 % of what was sent or
what is sent in a quarter of a second, whichever is more (a stall is not falling behind). At its
limit: more than 10,000 clients that each send their next message when the echo has come (closed
loop). Connected: every client had an echo, none failed, and no echo was altered. Even: no client
was without an echo in the whole slice, and Jain's index of their echoes is 0.8 or more; only slices
with at least ten echoes per client on average are used.
"""
RULE = """
Each server has three parts: it serves them at a rate, it connects them all at its limit, and it is
even at its limit. For event-driven servers, each part is supported when it was true in every trial,
refuted when in none, and otherwise it depends. For threads it is the other way round. Trials that a
gate rejected do not count, with one exception: a closed loop's slice that was too short to tell a
rate still tells who was served.
"""
OPEN_CLIENTS, CLOSED_CLIENTS = 10_000, 10_001  # at least; the ladder's open loads have 10,000
KEPT, STALL_S = 0.02, 0.25  # what may be missing at the end: a share of all, or this long a stall
ROUNDS = 10  # echoes per client, on average: with fewer, a client has none by chance
EVEN = 0.8  # a service in random order has 0.91 after ten rounds


class Sample(NamedTuple):
    """One figure of a server under one of the ladder's loads."""

    server: str
    clients: int
    rate: float  # messages/s of the open loop; 0: closed
    what: str


def measure(setting):
    session = store.load(setting.ladder)
    samples: dict[Sample, list[float]] = {}

    def add(what, value):
        sample = Sample(name, load.clients, load.rate, what)
        samples.setdefault(sample, []).append(float(value))

    for trial in session.measurements:
        load, name = trial.trial.load, trial.trial.server
        rejected = {gate.kind for gate in trial.gates} - {"little"}
        if name == session.plan.control or trial.status == "not run" or rejected:
            continue
        if load.kind == "open" and load.clients >= OPEN_CLIENTS:
            if (figures.server_cpu_share(trial) or 0) >= gates.BOUND_SHARE:
                add("saturated", 1)
            else:
                add("served", whole(trial) and not trial.lost and kept(trial))
        if load.kind == "closed" and load.clients >= CLOSED_CLIENTS:
            add("connected", whole(trial))
            add("lost", trial.lost or 0)
            if (trial.messages or 0) >= ROUNDS * load.clients * load.depth:
                add("silent", trial.clients_without_echo or 0)
                add("fairness", trial.fairness or 0)
    return samples


def whole(trial):
    """Whether every client was served and nothing failed, other than echoes that were late."""
    there = trial.served == trial.trial.load.clients and trial.messages is not None
    return there and not trial.altered and not trial.errors


def kept(trial):
    """Whether the echoes kept up with the messages."""
    sent_per_s = trial.rate_achieved or trial.trial.load.rate
    missing = 1 - (trial.messages_per_s or 0) / sent_per_s
    return missing <= max(KEPT, STALL_S / (trial.duration_s or math.inf))


def decide(samples):
    known = {server.name: server for server in catalog.find(paths.SERVERS)}
    for name, clients, rate in sorted({(each.server, each.clients, each.rate) for each in samples}):
        server = known.get(name.partition("@")[0])
        if server is None or server.tier == "floor":
            continue
        server = replace(server, name=name)  # with the interpreter, if the session has several

        def found(what, name=name, clients=clients, rate=rate):
            return samples.get(Sample(name, clients, rate, what), ())

        if rate:
            yield at_a_rate(server, clients, rate, found)
        else:
            yield from at_its_limit(server, clients, found)


def at_a_rate(server, clients, rate, found):
    """Whether the server serves this many clients at a rate that it can handle."""
    served, limited = found("served"), len(found("saturated"))
    left_out = ClaimFigure("at its limit", limited, None, None, len(served) + limited, "times")
    words = ("serves", f"{clients:,} clients at {rate:,.0f} messages/s")
    return asked(server, words, "does not serve", served, [left_out])


def at_its_limit(server, clients, found):
    """Whether it serves all clients, and evenly, when they send as fast as they can."""
    awaited = figure("echoes still awaited at the end", found("lost"), most=math.inf)
    words = ("serves all", f"of {clients:,} clients at its limit")
    yield asked(server, words, "does not serve all", found("connected"), [awaited])
    silent, fairness = found("silent"), found("fairness")
    beside = [
        figure("clients without an echo", silent, most=clients),
        figure("Jain's index", fairness, most=1),
    ]
    even = [not s and f >= EVEN for s, f in zip(silent, fairness, strict=True)]
    yield asked(server, ("is even", f"to {clients:,} at its limit"), "is uneven", even, beside)


def asked(server, words, denied, seen, beside):
    """A part of the claim: what it asserts of event-driven servers, and denies of threads."""
    does, rest = words
    if server.unit == "thread":
        does, seen = denied, [not each for each in seen]
    return always(f"{server.name} {does} {rest}", seen, beside=beside)
