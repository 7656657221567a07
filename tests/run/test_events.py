"""Guards the boundary to the client: what one side writes is what the other side reads."""

import json

import latencies
import made
import msgspec
import pytest
import stalls
from plan import read as read_plan

from c10k import paths
from c10k.histograms import intervals
from c10k.run import drive, events, merge, worker_plans, workers

QUICK = {"clients": 4, "warmup_s": 0.05, "duration_s": 0.2, "ceiling_s": 0.2, "drain_s": 0.5}
KINDS = {
    "closed": {"depth": 2},
    "open": {"rate": 400},
    "idle": {},
    "storm": {},
    "churn": {"connecting": 2},
}
ADDRESS = ("127.0.0.1", 7000)


def plans(load, address=ADDRESS, shares=(10,), **options):
    workload = made.workload(["alpha"], [load], 1)
    return worker_plans.plans(address, workload, load, shares, 5, **options)


def strict(kind):
    """The events of a kind of load, which allow no key that is not in them."""
    return [
        msgspec.defstruct(
            event.__name__, [], bases=(event,), frozen=True, forbid_unknown_fields=True
        )
        for event in (
            events.WorkerConnected,
            events.WorkerWarmed,
            events.WorkerEnded,
            events.RESULTS[kind],
        )
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_says_what_the_types_say_and_nothing_else(serving, client, kind):
    """Each line of each kind of load decodes, has no key besides, and lacks none."""
    port = serving("asyncio_streams").address[1]
    said = client(**QUICK, **KINDS[kind], kind=kind, port=port)
    for line, event in zip(said, strict(kind), strict=True):
        decoded = msgspec.json.decode(json.dumps(line), type=event)
        assert set(line) == {"event", *event.__struct_fields__}
        assert isinstance(events.decoded(json.dumps(line).encode(), kind), event.__mro__[1])
        assert decoded.__struct_config__.tag == line["event"]


def test_a_storm_on_a_name_without_an_address_is_in_bounds_too(client):
    """Nobody began to connect: the failure is counted by its name."""
    *_, last = client(**QUICK, kind="storm", host="nowhere.invalid", port=1)
    result = events.decoded(json.dumps(last).encode(), "storm")
    assert isinstance(result, events.StormResult)
    assert (result.served, result.launched_s, sum(result.failed.values())) == (0, 0.0, 4)


@pytest.fixture
def said_by(tmp_path, monkeypatch):
    """said_by(line, kind) → what a crew hears of a client that writes this line."""

    def hear(line, kind="closed"):
        client = tmp_path / "client.py"
        client.write_text(f"input()\nprint({line!r}, flush=True)\ninput()\n")
        monkeypatch.setattr(paths, "CLIENT", client)
        with workers.LocalCrew(plans(made.load(10, kind=kind)), ()) as crew:
            while not (said := crew.said(30.0)):
                pass  # a part of the line
            return said

    return hear


ENDED = {"event": "ended", "start_ns": 1, "end_ns": 2}


def test_another_client_may_say_more(said_by):
    """A key that the engine does not know is ignored."""
    said = said_by(json.dumps({**ENDED, "colour": "red"}))
    assert said == [(0, events.WorkerEnded(start_ns=1, end_ns=2))]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('{"event": "ended", "start_ns": 1, "end_n": 2}', "end_ns"),
        ('{"event": "ended", "start_ns": -1, "end_ns": 2}', "start_ns"),
        ('{"event": "ended", "start_ns": "x", "end_ns": 2}', "start_ns"),
        ('{"event": "endet", "start_ns": 1, "end_ns": 2}', "event"),
        ('{"start_ns": 1, "end_ns": 2}', "event"),
        ("[1, 2]", "object"),
        ("so far so good", "JSON"),
    ],
)
def test_a_line_that_is_none_of_the_protocols_is_one_clear_line(said_by, line, names):
    """A misspelt key among them: what was expected, what was written."""
    with pytest.raises(events.ClientFailed, match=names) as failed:
        said_by(line)
    assert "clients/README.md" in str(failed.value)
    assert line[:20] in str(failed.value)
    assert len(str(failed.value).splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_lacks_nothing_of_its_kind(kind):
    """A figure that only one kind has is required there, so a misspelt key is an error."""
    fields = msgspec.structs.fields(events.RESULTS[kind])
    assert all(field.required for field in fields)
    own = {"open": "schedule_lag", "storm": "launched_s", "churn": "retried"}
    if kind in own:
        assert own[kind] in events.RESULTS[kind].__struct_fields__


# The other way: what the engine writes


@pytest.mark.parametrize("address", [ADDRESS, "/run/echo"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_client_reads_the_plans_that_are_made_for_it(kind, address):
    """No key that it does not know, no value out of its bounds, and each as it was meant."""
    more = {"arrivals": "constant"} if kind == "open" else {}
    load = made.load(10, kind=kind, rate=10.0 if kind == "open" else 0.0, **more)
    first, second = plans(load, address, shares=(7, 3), sources=[["127.0.1.1"], ["127.0.2.1"]])
    for plan in (first, second):
        read = read_plan(msgspec.json.encode(plan))
        for key in plan.__struct_fields__:
            assert getattr(read, key) == getattr(plan, key), key
    assert (first.first_id, second.first_id) == (0, 7)
    assert (first.seed, second.rate) == ((5, 3.0) if kind == "open" else (0, 0.0))


def test_what_both_sides_know_is_the_same():
    """The rule for a slice's length, what a stall is, how intervals are cut."""
    import course

    assert (course.SLICE_ROUNDS, course.SLICE_WAITS) == (drive.ROUND_TRIPS, drive.WAITS)
    assert stalls.STALL_NS == merge.STALL_NS
    assert latencies.COARSE == intervals.BUCKETS
