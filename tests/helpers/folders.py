"""Sound folders of sessions and claims, for tests that hurt them."""

import made
import msgspec
import nonsense
from msgspec.structs import replace
from recorded import ok

from c10k import claims, machine
from c10k.model import ClaimFigure, ClaimPart, ClaimsHead, Outcome, ServerUse
from c10k.run import store


def measured(trial):
    """A trial in which everything was measured, and some went wrong."""
    bins = tuple((index * 20_000_000, index * 7) for index in range(120))
    server = ServerUse(
        cpu_s=1.0,
        before=made.memory(10**7),
        after=made.memory(10**8),
        processes_max=4,
        threads_max=9,
        descriptors_max=3,
        accept_queue_limit=4096,
        listen_overflows=0,
    )
    if trial.server == "beta" and trial.load.clients == 10:
        return made.failed(trial, "9 of 10 clients served")
    return ok(trial, bins=bins, server=server, errors={"refused": 1}, gil=True, notes=("a note",))


KINDS = ("closed", "open", "idle", "storm", "churn")
SESSIONS = [
    made.session(
        ("alpha", "beta"),
        [
            made.load(10, kind="closed"),
            made.load(20, kind=kind, **{"rate": 9.0} if kind == "open" else {}),
        ],
        3,
        measured,
        control=kind == "closed",
        alpha={"tier": "floor"},
    )
    for kind in KINDS
] + [made.session(["alpha"], [made.load(n) for n in (1, 2, 3)], 2, measured)]
SESSIONS = [replace(each, environment=machine.environment()) for each in SESSIONS]
HEADS = [
    {key: value for key, value in msgspec.to_builtins(each).items() if key != "measurements"}
    for each in SESSIONS
]
SEARCH = {"least": 1, "most": 64}
HEADS.append({**HEADS[1], "plan": {**HEADS[1]["plan"]}})
HEADS[-1]["plan"]["workload"] = {**HEADS[1]["plan"]["workload"], "search": SEARCH}
TRIALS = [[msgspec.to_builtins(m) for m in each.measurements] for each in SESSIONS]
TRIALS.append(TRIALS[1])

FIGURES = (
    ClaimFigure("took", 1.5, 1.0, 2.0, 5, "s"),
    ClaimFigure("so", 3, None, None, 5, "of 5 times"),
)
PARTS = (ClaimPart("a part", "supported", FIGURES), ClaimPart("shown beside it", "", FIGURES[:1]))
SAMPLES = {"took": (1.0, 1.5, 2.0)}
CLAIMS = [
    msgspec.to_builtins(each)
    for each in (
        ClaimsHead(claims.SCHEMA, "0", "2026-01-01", True, "", {"python": {"version": "3.11"}}),
        Outcome("it", "Words.", "Do.", "Rule.", "supported", PARTS, "why", SAMPLES, 2.0),
    )
]


def write(folder, head, trials, end=None):
    folder.mkdir(exist_ok=True)
    (folder / store.HEAD).write_bytes(head)
    (folder / store.TRIALS).write_bytes(trials)
    (folder / store.FINISHED).unlink(missing_ok=True)
    if end is not None:
        (folder / store.FINISHED).write_bytes(end)
    return folder


def as_folder(folder, which, trials):
    """A sound session's folder, with so many of its trials."""
    lines = (nonsense.as_json(each) + b"\n" for each in TRIALS[which][:trials])
    return write(folder, nonsense.as_json(HEADS[which]), b"".join(lines))
