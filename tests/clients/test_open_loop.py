"""Guards the open loop: its schedule, and that it reports what arithmetic predicts.

Nothing here asserts a time tighter than a busy machine keeps; how exact the figures are on
a quiet one, benchmarks/instrument/ground_truth.py says.
"""

import itertools
import time
from pathlib import Path

import bins
import numpy as np
import psutil
import pytest
from conversations import Meter
from hypothesis import given
from hypothesis import strategies as st
from made import result
from pacing import Pacer
from recorded import latencies_of
from schedule import Schedule

from c10k import paths
from c10k.histograms import latencies

pytestmark = pytest.mark.once

KNOWN = Path(__file__).parents[2] / "benchmarks" / "instrument" / "known_servers"
OPEN = {"kind": "open", "clients": 4, "rate": 400, "warmup_s": 0.1, "duration_s": 0.5}
NS_PER_S = 1_000_000_000


def slower(seen, than_ms, key="latency"):
    """How many of a histogram's values are above so many ms."""
    counts = latencies_of(seen, key)
    return sum(
        item.count_at_value_iterated_to
        for item in counts.get_recorded_iterator()
        if item.value_iterated_to > than_ms * 1e6
    )


def percentile_ms(seen, percent, key="latency"):
    return latencies_of(seen, key).get_value_at_percentile(percent) / 1e6


def adds_up(seen):
    """Every message intended in the slice is in the figures, whatever became of it."""
    assert latencies_of(seen).get_total_count() == seen["intended"]
    assert latencies_of(seen, "latency_from_send").get_total_count() == seen["sent"]
    assert latencies_of(seen, "latency_least").get_total_count() == seen["sent"]
    for percent in (50, 99, 100):
        least = percentile_ms(seen, percent, "latency_least")
        assert least <= percentile_ms(seen, percent, "latency_from_send")
    assert latencies_of(seen, "read_lag").get_total_count() <= seen["sent"]
    assert latencies_of(seen, "schedule_lag").get_total_count() == seen["sent"]
    assert seen["sent"] + seen["unsent"] == seen["intended"]
    return seen


# The schedule


def whole(arrivals, rate, clients, seconds, seed=0, first_id=0, sizes=(256,)):
    """All of a schedule, made in chunks of these sizes in turn."""
    schedule = Schedule(arrivals, rate, clients, int(seconds * NS_PER_S), seed, first_id)
    chunks = []
    for size in itertools.cycle(sizes):
        chunks.append(schedule.chunk(size))
        if schedule.ended:
            break
    times, who = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    assert times.size == schedule.made
    return times, who


ANY = {
    "arrivals": st.sampled_from(["poisson", "constant"]),
    "rate": st.floats(1, 50_000),
    "clients": st.integers(1, 2000),
    "seed": st.integers(0, 2**63 - 1),
}


@given(**ANY, seconds=st.floats(0, 0.2))
def test_a_schedule_is_sorted_and_within_its_time(arrivals, rate, clients, seed, seconds):
    """Whatever is asked for: times in order, none outside, only clients that are there."""
    times, who = whole(arrivals, rate, clients, seconds, seed)
    assert (np.diff(times) >= 0).all()
    assert ((times >= 0) & (times < int(seconds * NS_PER_S))).all()
    assert ((who >= 0) & (who < clients)).all()


@given(**ANY, sizes=st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_chunks_do_not_matter(arrivals, rate, clients, seed, sizes):
    """The same seed gives the same schedule, in whatever pieces it is made."""
    for one, other in zip(
        whole(arrivals, rate, clients, 0.05, seed),
        whole(arrivals, rate, clients, 0.05, seed, sizes=sizes),
        strict=True,
    ):
        assert (one == other).all()


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_seeds_and_workers_differ(arrivals):
    """Another seed, or another worker with the same seed, has another schedule."""
    ways = [{"seed": 1}, {"seed": 2}, {"seed": 1, "first_id": 500}]
    times = [whole(arrivals, 1000, 500, 1, **way)[0][:400].tolist() for way in ways]
    assert times[0] != times[1] != times[2] != times[0]


def test_poisson_arrivals_are_poisson():
    """Gaps: mean and standard deviation 1/rate; each client gets its share, as by chance."""
    times, who = whole("poisson", 10_000, 50, 20)
    gaps = np.diff(times) / 1e9
    # 200,000 gaps: four standard errors of their mean, and of their deviation
    assert gaps.mean() == pytest.approx(1e-4, rel=0.01)
    assert gaps.std() == pytest.approx(1e-4, rel=0.015)
    shares = np.bincount(who, minlength=50)
    assert shares.mean() == pytest.approx(4000, rel=0.01)
    assert 30 < shares.std() < 110  # Poisson: 63
    mine = np.diff(times[who == 7]) / 1e9
    assert mine.mean() == pytest.approx(50 / 10_000, rel=0.08)
    assert mine.std() == pytest.approx(50 / 10_000, rel=0.12)


@given(rate=st.floats(10, 50_000), clients=st.integers(1, 300), seed=st.integers(0, 2**63 - 1))
def test_constant_arrivals_have_a_period_and_phases(rate, clients, seed):
    """Each client sends at clients/rate exactly, from a phase of its own."""
    period_ns = clients / rate * 1e9
    times, who = whole("constant", rate, clients, 5.5 * period_ns / 1e9, seed)
    assert times.size == pytest.approx(5.5 * clients, abs=clients)
    for client in range(min(clients, 20)):
        mine = times[who == client]
        assert 5 <= mine.size <= 6
        assert np.abs(np.diff(mine) - period_ns).max() <= 1
    phases = times[:clients]
    assert sorted(who[:clients]) == list(range(clients))
    assert (phases <= period_ns).all()
    if period_ns > 1e6:
        assert np.unique(phases).size > 0.9 * clients - 1  # two may coincide by chance


# What it reports


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
@pytest.mark.parametrize("message_bytes", [16, 64, 65_536, 300_000])
def test_every_byte_of_every_message_is_echoed(serving, client, arrivals, message_bytes):
    """Every size runs on its schedule without a lost or altered echo, and counts add up."""
    port = serving("asyncio_streams").address[1]
    events = client(**OPEN, port=port, arrivals=arrivals, message_bytes=message_bytes)
    seen = adds_up(result(events))
    assert (seen["lost"], seen["unsent"], seen["altered"], seen["errors"]) == (0, 0, 0, {})
    assert seen["count_sum"] == seen["intended"]
    assert seen["rate_intended"] == 400
    if arrivals == "constant":
        assert seen["intended"] == pytest.approx(200, abs=4)
    assert [event["event"] for event in events] == ["connected", "warmed", "ended", "result"]
    assert seen["bins"][-1][1] >= seen["messages"]
    assert seen["slice_start_ns"] == pytest.approx(0.1e9, abs=0.09e9)


@pytest.mark.alone
def test_a_known_delay_is_what_is_reported(serving, client):
    """A server that answers after 10 ms: nothing under 10 ms, and most of it not far above."""
    port = serving(KNOWN / "answers_after_10ms.py").address[1]
    seen = adds_up(result(client(**{**OPEN, "duration_s": 2.0, "clients": 40}, port=port)))
    assert latencies_of(seen).get_min_value() >= 9.99e6
    # a busy machine adds waiting; how exact it is, benchmarks/instrument/ground_truth.py says
    assert 10 <= percentile_ms(seen, 50, "latency_from_send") < 50
    assert 10 <= percentile_ms(seen, 50) < 50


@pytest.mark.alone
def test_the_time_that_messages_queued_counts(serving, client):
    """A tenth of all arrivals meets a stall of 100 ms a second, evenly spread over it.

    So a message waits longer than x ms with probability (100 - x) / 1000. Sends do not wait
    for the stall to pass, so the latency from the actual send says the same.
    """
    port = serving(KNOWN / "stalls_100ms_a_second.py").address[1]
    plan = {**OPEN, "rate": 1000, "duration_s": 3.0, "arrivals": "constant"}
    seen = adds_up(result(client(**plan, port=port)))
    for than_ms in (5, 50):
        share = (100 - than_ms) / 1000
        for key in ("latency", "latency_from_send"):
            # a busy machine adds waiting, it takes none away
            assert share - 0.04 <= slower(seen, than_ms, key) / 3000 <= share + 0.2
    assert 75 < percentile_ms(seen, 99) < 500


@pytest.mark.alone
def test_a_closed_loop_hides_the_same_stall(serving, client):
    """Closed: each client meets each stall once, however many messages it sends between."""
    port = serving(KNOWN / "stalls_100ms_a_second.py").address[1]
    seen = result(client(port=port, clients=4, warmup_s=0.1, duration_s=3.0))
    assert 2 * 4 <= slower(seen, 50) <= 5 * 4
    assert percentile_ms(seen, 99) < 50


@pytest.mark.alone
def test_few_messages_over_many_clients(serving, client):
    """A thousand clients with one message a second each: all on time, nobody unserved."""
    port = serving("asyncio_streams").address[1]
    plan = {**OPEN, "clients": 1000, "rate": 1000, "duration_s": 2.0}
    seen = adds_up(result(client(**plan, port=port)))
    assert seen["rate_achieved"] == pytest.approx(1000, rel=0.1)
    assert seen["clients_without_echo"] == 0  # about a tenth were sent nothing: not counted
    assert seen["least_messages"] == 0
    assert percentile_ms(seen, 50, "schedule_lag") < 1


def test_an_echo_waited_since_the_loop_asked_what_had_come():
    """At least: the kernel told of it then. A loop that slept woke up because it came."""
    pacer = Pacer(Meter(), most_outstanding=100, message_bytes=64)
    pacer.slice_ns = 0
    client = pacer.client(7, b"")
    for intended_ns, looked_ns in ((1_000, 3_000), (2_000, 4_500), (3_000, 0)):
        client.on_their_way.append((intended_ns, intended_ns))
        pacer.outstanding += 1
        pacer.looked_ns, pacer.before_ns = looked_ns, max(0, looked_ns - 1_500)
        client.heard(5_000)
    assert latencies.decoded(pacer.least.encoded()).get_max_value() == pytest.approx(
        2_000, rel=0.01
    )
    found = latencies.decoded(pacer.read_lag.encoded())
    assert found.get_total_count() == 3
    assert [found.get_value_at_percentile(q) for q in (33, 66, 100)] == pytest.approx(
        [0, 500, 2_000], rel=1e-3
    )


def test_what_a_client_adds_by_being_late_is_not_in_the_least_latency(client, fake):
    """The client is stopped for 300 ms of 1.5 s, while the server answers everything at once."""
    stopped = []

    def reply(connection, data, number):
        connection.sendall(data)
        if number == 30 and not stopped:
            stopped.append(True)
            (process,) = (
                each for each in psutil.Process().children() if str(paths.CLIENT) in each.cmdline()
            )
            process.suspend()
            time.sleep(0.3)
            process.resume()

    plan = {**OPEN, "duration_s": 1.5, "arrivals": "constant"}
    seen = adds_up(result(client(**plan, port=fake(reply))))
    assert stopped
    assert seen["lost"] == 0
    assert slower(seen, 100) >= 0.1 * seen["intended"]
    assert slower(seen, 100, "latency_least") <= 4  # one of each client may be on its way


def test_the_pacer_sleeps_when_the_next_message_is_far(serving, client):
    """Ten messages a second keep no core busy, and still leave on time."""
    port = serving("asyncio_streams").address[1]
    plan = {**OPEN, "rate": 10, "duration_s": 2.0, "arrivals": "constant"}
    seen = adds_up(result(client(**plan, port=port)))
    assert seen["cpu_ns"] < 0.3 * seen["duration_ns"]
    assert percentile_ms(seen, 50, "schedule_lag") < 1


def test_echoes_in_pieces_and_together_are_the_same_stream(client, fake):
    """What a server sends in odd pieces, or several echoes at once, is taken apart rightly."""
    kept = {}

    def reply(connection, data, number):
        data = kept.pop(connection, b"") + data
        connection.sendall(data[:23])
        time.sleep(0.002)
        if number % 3 and number:
            kept[connection] = data[23:]
        else:
            connection.sendall(data[23:])

    def whole_reply(connection, data, number):
        time.sleep(0.02)  # so that several messages are read and echoed at once
        connection.sendall(data)

    seen = adds_up(result(client(**OPEN, port=fake(whole_reply))))
    assert (seen["lost"], seen["altered"]) == (0, 0)
    seen = adds_up(result(client(**OPEN, port=fake(reply), drain_s=0.5)))
    assert seen["altered"] == 0
    assert seen["lost"] <= 4 * 20


def test_a_server_that_reads_late_keeps_no_message_from_leaving(client, fake):
    """What the kernel does not take waits in the transport, in order; nothing is lost."""

    def reply(connection, data, number):
        if number == 1:
            time.sleep(0.6)
        connection.sendall(data)

    plan = {**OPEN, "clients": 2, "rate": 100, "message_bytes": 500_000}
    seen = adds_up(result(client(**plan, port=fake(reply), drain_s=20)))
    assert (seen["lost"], seen["unsent"], seen["altered"], seen["errors"]) == (0, 0, 0, {})
    assert percentile_ms(seen, 99, "schedule_lag") < percentile_ms(seen, 99)


FAULTS = {
    "altered": lambda c, data, n: c.sendall(data if n == 0 else data[:20] + b"!" + data[21:]),
    "doubled": lambda c, data, n: c.sendall(data if n == 0 else data + data),
    "misdirected": lambda c, data, n: c.sendall(data if n == 0 else b"\xff" * 8 + data[8:]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_echo_ends_its_conversation(client, fake, fault):
    """A wrong echo is counted and named; what was still to come for that client is unsent."""
    plan = {**OPEN, "rate": 100}
    seen = adds_up(result(client(**plan, port=fake(FAULTS[fault]), drain_s=0.2)))
    assert seen["altered"] == 4
    assert seen["faults"].keys() <= {fault, "altered"}
    assert seen["unsent"] > 0


def test_what_never_comes_back_counts_as_long_as_it_waited(serving, client):
    """Loss cannot improve a percentile: a lost message counts with the time it waited."""
    port = serving(KNOWN / "never_answers_again.py").address[1]
    began = time.monotonic()
    seen = adds_up(result(client(**OPEN, port=port, drain_s=0.5)))
    assert seen["intended"] > 100
    assert seen["messages"] == seen["count_sum"] == 0
    assert seen["lost"] >= seen["intended"]  # the warm-up's are lost, too
    assert seen["clients_without_echo"] == 4
    assert latencies_of(seen).get_min_value() >= 0.49e9
    assert time.monotonic() - began < 10


def test_stragglers_are_waited_for_and_recorded(client, fake):
    """Echoes that come during the drain are in the percentiles, and not in the slice."""

    def reply(connection, data, number):
        if number:
            time.sleep(1.0)
        connection.sendall(data)

    seen = adds_up(result(client(**OPEN, port=fake(reply), drain_s=20)))
    assert seen["lost"] == 0
    assert seen["messages"] < seen["count_sum"] == seen["intended"]
    assert latencies_of(seen).get_max_value() >= 0.9e9


def test_a_server_that_hangs_up_leaves_messages_unsent(client, fake):
    """What a closed connection cannot send is counted, and counts in the percentiles."""

    def reply(connection, data, number):
        if number:
            raise OSError
        connection.sendall(data)

    seen = adds_up(result(client(**OPEN, port=fake(reply), drain_s=0.3)))
    assert sum(seen["errors"].values()) == 4
    assert seen["unsent"] > 0
    assert seen["intended"] > 100


def test_too_many_on_their_way_end_the_run(serving, client):
    """Memory is bounded: past the stated number the run ends early, with that as its error."""
    port = serving(KNOWN / "never_answers_again.py").address[1]
    began = time.monotonic()
    plan = {**OPEN, "duration_s": 30.0, "rate": 2000, "most_outstanding": 500}
    events = client(**plan, port=port, drain_s=0.2)
    seen = adds_up(result(events))
    assert seen["errors"] == {"stopped: more than 500 messages outstanding": 1}
    assert seen["lost"] == 501
    assert time.monotonic() - began < 15


def test_more_than_the_client_can_send_is_told(serving, client):
    """An absurd rate: the achieved one shows it, and what was never sent is unsent."""
    port = serving("asyncio_streams").address[1]
    plan = {**OPEN, "rate": 2_000_000, "most_outstanding": 50_000}
    seen = adds_up(result(client(**plan, port=port, drain_s=0.2)))
    assert seen["rate_achieved"] < 0.97 * seen["rate_intended"]


def test_nobody_there_is_no_traceback(client, fake):
    """Without a served client there is nothing to send, and a result that says so."""
    port = fake(lambda connection, data, number: None)
    events = client(**OPEN, port=port, connect_timeout_s=0.3)
    assert events[0]["served"] == 0
    assert result(events)["intended"] == 0


def test_open_loop_memory_stays_constant(serving, client):
    """Six times the messages do not take more memory."""
    port = serving("asyncio_streams").address[1]
    plan = {**OPEN, "rate": 3000}
    short = result(client(**{**plan, "duration_s": 0.5}, port=port))
    long = result(client(**{**plan, "duration_s": 3.0}, port=port))
    assert long["intended"] > 5 * short["intended"]
    assert long["peak_bytes"] < short["peak_bytes"] + 4 * 1024 * 1024


# The bins


def test_bins_widen_instead_of_growing(monkeypatch):
    """Past the most readings, every second one goes; the last one stands."""
    monkeypatch.setattr(bins, "MOST", 8)
    made = bins.Bins(1, 5_000)
    for ms in range(100):
        made.pass_by(5_000 + ms * 1_000_000, ms)
    made.end(5_000 + 99_500_000, 100)
    assert len(made.readings) < 8
    assert made.width_ns >= 4_000_000
    assert made.readings == sorted(made.readings)
    assert made.readings[-1] == (99_500_000, 100)
    assert all(at_ns == echoes * 1_000_000 for at_ns, echoes in made.readings[:-1])


# The servers with known answers


@pytest.mark.parametrize("family", ["answers_after_*ms.py", "burns_*ns.py"])
def test_known_servers_differ_in_their_names_only(family):
    """What a known server does stands in its name; nothing else tells its copies apart."""
    assert len({path.read_bytes() for path in KNOWN.glob(family)}) == 1


def test_a_burning_server_burns_what_its_name_says(serving, client, tmp_path):
    """0.2 ms a message is 0.2 s for each thousand, in which one client waits so long."""
    slow = tmp_path / "burns_200000ns.py"
    slow.write_bytes((KNOWN / "burns_0ns.py").read_bytes())
    port = serving(slow).address[1]
    seen = result(client(port=port, duration_s=0.6, warmup_s=0.1))
    assert (seen["lost"], seen["altered"]) == (0, 0)
    assert seen["messages"] <= (0.6 / 0.2 + 1) * 1000
    assert latencies_of(seen).get_max_value() >= 0.199e9
