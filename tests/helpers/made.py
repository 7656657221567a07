"""Made-up sessions for the tests of store, session, judge and render."""

import socket

from msgspec.structs import replace

from c10k import plan
from c10k.judge.figures import MEMORY_PARTS
from c10k.model import (
    Gate,
    Latency,
    Load,
    Measurement,
    Memory,
    Server,
    ServerUse,
    Session,
    Workload,
)
from c10k.run import causes, store

ENVIRONMENT = {
    "cpu": {"model": "Test CPU", "cores_allowed": [0, 1]},
    "system": {"kernel": "6.0"},
    "python": {"version": "3.11.0"},
}


def gate(kind, words="a lot"):
    """What rejects a trial."""
    return Gate(kind, words)


def server(name, **fields):
    kept = {"title": name, "model": "coroutines", "unit": "task", "tier": "canonical", **fields}
    return Server(name=name, path=f"/{name}.py", **kept)


def load(clients=100, **fields):
    kept = {"message_bytes": 64, "depth": 1, "warmup_s": 0.5, "duration_s": 2.0, **fields}
    return Load(kind=kept.pop("kind", "closed"), clients=clients, **kept)


def workload(names, loads, blocks=2, **fields):
    kept = {"reference": "", "control": False, "repeats": 0, "connecting": 64, **fields}
    return Workload(
        name="made",
        title="A made-up session",
        servers=tuple(names),
        blocks=blocks,
        loads=tuple(loads),
        connect_timeout_s=kept.pop("connect_timeout_s", 10.0),
        drain_s=kept.pop("drain_s", 5.0),
        **kept,
    )


def session(
    names=("alpha", "beta"), loads=(), blocks=2, measure=None, seed=1, control=False, **servers
):
    """A finished session; measure(trial) → Measurement, by default ok() of each."""
    loads = tuple(loads) or (load(100), load(10_000))
    chosen = workload(names, loads, blocks, control=control)
    planned = plan.make(chosen, [server(name, **servers.get(name, {})) for name in names], seed)
    return Session(
        schema=1,
        c10k="0",
        started_at="2026-01-02T03:04:05+00:00",
        plan=planned,
        environment=ENVIRONMENT,
        conformance={},
        measurements=tuple(map(measure or ok, planned.trials)),
    )


def kept(folder, session):
    """The folder, with the session and all of its measurements in it."""
    writer = store.create(folder, session)
    for measurement in session.measurements:
        writer.append(measurement)
    writer.close()
    return folder


def ok(trial, rate=1000.0, cpu_s=1.0, client_cpu_share=0.5, read_s=None, **fields):
    """A trial that went well; read_s: between the readings of the server's CPU."""
    clients = trial.load.clients
    whole = Measurement(
        trial,
        "ok",
        connected=clients,
        served=clients,
        connect_s=0.5,
        duration_s=2.0,
        messages=int(rate * 2),
        messages_per_s=rate,
        lost=0,
        altered=0,
        latency=Latency(int(rate * 2), 1000.0, 1500.0, 2000.0, None, 2500.0),
        client_cpu_share=client_cpu_share,
        client_cpu_s=client_cpu_share * 2,
        fairness=0.99,
        clients_without_echo=0,
        server=ServerUse(
            cpu_s=cpu_s,
            read_s=read_s,
            before=memory(10_000_000),
            after=memory(10_000_000 + 4096 * clients),
        ),
        pinned="server on core 0; clients on core 1",
    )
    return replace(whole, **fields)


def memory(own, **fields):
    """A reading in which all of a server's memory is private, and the kernel holds nothing."""
    kernel = dict.fromkeys(MEMORY_PARTS[1:], 0)
    return Memory(pss_bytes=own, private_bytes=own, shared_bytes=0, **{**kernel, **fields})


def failed(trial, reason="the server was killed by SIGKILL", status="failed"):
    return Measurement(trial, status, reason, causes.of_words(reason))


def connection(port):
    """A blocking connection to a server on this machine."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def result(events):
    """The last of a worker's events, when it came to its end."""
    assert events[0]["event"] == "connected"
    assert events[-1]["event"] == "result"
    return events[-1]
