"""Asynchronous servers support more than 10,000 clients, and threads do not."""

from c10k import catalog, places, store
from c10k.claims import always, figure

WORDS = "Asynchronous servers support more than 10,000 clients, and threads do not."
EXPERIMENT = """
The ladder's data: every trial of c10k.toml with more than 10,000 clients that each send their next
message when the echo has come. Answered: every client was connected, none failed, and no echo was
lost. Even: no client waited through the whole slice without an echo.
"""
RULE = """
Of each server two parts: it answers all, and it is even. Of event-driven servers each is supported
when it was so in every trial, refuted when in none, else it depends. Of threads the other way
round.
"""


def measure(setting):
    session = store.load(setting.ladder)
    samples = {}
    for trial in session.measurements:
        load = trial.trial.load
        name = trial.trial.server
        if load.kind != "closed" or load.clients <= 10_000 or name == session.plan.control:
            continue
        if trial.status == "not run" or trial.gates:
            continue
        answered = trial.served == load.clients and not trial.lost and trial.status == "ok"
        samples.setdefault(f"{name} {load.clients} answered", []).append(answered)
        if trial.clients_without_echo is not None:
            silent = trial.clients_without_echo
            samples.setdefault(f"{name} {load.clients} silent", []).append(silent)
    return samples


def decide(samples):
    known = {server.name: server for server in catalog.find(places.SERVERS)}
    for name, clients in sorted({tuple(key.split()[:2]) for key in samples}):
        server = known.get(name)
        if server is None or server.tier == "floor":
            continue
        count = f"{int(clients):,} clients"
        answered = samples.get(f"{name} {clients} answered", ())
        silent = samples.get(f"{name} {clients} silent", ())
        even = [not each for each in silent]
        beside = [figure("clients without an echo", silent)]
        if server.model.startswith("thread"):
            yield always(f"{name} does not answer all of {count}", [not each for each in answered])
            yield always(f"{name} is uneven to {count}", [not each for each in even], beside=beside)
        else:
            yield always(f"{name} answers all of {count}", answered)
            yield always(f"{name} is even to {count}", even, beside=beside)
