"""Guards the mix of an open loop: drawn as declared, one request at a time, figures by request."""

import re
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from made import result
from recorded import latencies_of
from schedule import Schedule

from c10k.histograms import latencies

pytestmark = pytest.mark.once

MIX = [{"line": "!wait 20", "share": 9}, {"line": "!hold 1", "share": 1}]
OPEN = {"kind": "open", "clients": 20, "rate": 500, "warmup_s": 0.1, "duration_s": 1.0, "mix": MIX}
SHARES = (9, 1)


@pytest.fixture
def client(asyncio_client):
    """Only asyncio drives such clients."""
    return asyncio_client


def drawn(shares, seed=7, first_id=0, size=256, clients=50):
    """A schedule of 20 s at 2,000/s in chunks of this size: times, and what was drawn."""
    schedule = Schedule("poisson", 2000, clients, 20 * 10**9, seed, first_id, shares)
    chunks = []
    while not schedule.ended:
        chunks.append(schedule.chunk(size))
    times, whats = zip(*chunks, strict=True)
    return np.concatenate(times), np.concatenate(whats)


def by_request(seen):
    return [latencies.decoded(each) for each in seen["latency_by_request"]]


def at_work(done, ms):
    """A reply that works for some ms by its request's word, and notes each request."""

    def reply(connection, data, number):
        word = data.split(b" ")[0]
        time.sleep(ms.get(word, 0) / 1000)
        done.append(data)
        connection.sendall(data)

    return reply


def test_the_mix_is_drawn_as_declared():
    """Of 40,000 messages nine in ten are the first: within five standard deviations."""
    _, whats = drawn(SHARES)
    counts = np.bincount(whats, minlength=2)
    assert counts.sum() == pytest.approx(40_000, abs=1000)
    assert counts[1] == pytest.approx(0.1 * whats.size, abs=5 * np.sqrt(0.09 * whats.size))


def test_a_mix_does_not_change_when_messages_leave():
    """Times with one mix, with another and with none are those of the seed."""
    plain, _ = drawn(())
    for shares in (SHARES, (1, 1, 1)):
        assert (drawn(shares)[0] == plain).all()


def test_a_mix_follows_from_its_seed_alone():
    """In whatever chunks and for however many clients; another seed or worker has another."""
    _, whats = drawn(SHARES)
    assert (drawn(SHARES, size=100)[1] == whats).all()
    assert (drawn(SHARES, clients=3)[1] == whats).all()
    for other in (drawn(SHARES, seed=8), drawn(SHARES, first_id=50)):
        assert (other[1][:1000] != whats[:1000]).any()


def test_figures_are_those_of_each_request(fake, client):
    """Waits of 20 ms are not faster than that, short ones are not the waits', and all add up."""
    port = fake(at_work([], {b"!wait": 20, b"!hold": 1}))
    seen = result(client(**OPEN, port=port))
    assert (seen["altered"], seen["lost"], seen["unsent"]) == (0, 0, 0)
    waits, holds = by_request(seen)
    assert waits.get_total_count() + holds.get_total_count() == seen["intended"]
    assert latencies_of(seen).get_total_count() == seen["intended"]
    assert waits.get_min_value() >= 19.9e6
    assert 0.99e6 <= holds.get_min_value() < 20e6
    assert waits.get_total_count() > 5 * holds.get_total_count() > 0


def test_servers_get_the_same_requests(fake, client):
    """A fast and a slow server, with one seed: as many of each request, in the same order."""
    words = []
    for ms in ({b"!wait": 20}, {b"!hold": 5}):
        done = []
        result(client(**OPEN, seed=3, port=fake(at_work(done, ms))))
        sent = [data for data in done if data.startswith(b"!")]
        words.append(sorted(data.split(b" ")[0] for data in sent))
    assert words[0] == words[1]


def test_a_client_has_one_request_at_a_time(fake, client):
    """Whatever is due, a read is one whole request, and its number follows the last one's."""
    done = []
    plan = OPEN | {"clients": 3}  # they can serve 150/s of the 500
    seen = result(client(**plan, drain_s=30, port=fake(at_work(done, {b"!wait": 20}))))
    assert (seen["lost"], seen["unsent"]) == (0, 0)
    numbers = {}
    for data in done:
        told = re.fullmatch(rb"(?:!wait 20 |!hold 1 )?#(\d+)\.(\d+)\n", data)
        assert told, data
        numbers.setdefault(told[1], []).append(int(told[2]))
    assert len(numbers) == 3
    assert all(b == a + 1 for each in numbers.values() for a, b in pairwise(each))


def test_a_request_that_waits_for_a_client_counts_from_its_intended_send(fake, client):
    """With too few clients latencies grow; the client's own lag and its rate do not."""
    plan = OPEN | {"clients": 3, "drain_s": 30}
    seen = result(client(**plan, port=fake(at_work([], {b"!wait": 20}))))
    median = {
        key: latencies_of(seen, key).get_value_at_percentile(50)
        for key in ("latency", "latency_from_send", "schedule_lag")
    }
    assert median["latency"] > 500e6  # 500 requests of 18 ms on average, three at a time
    assert median["latency_from_send"] < median["latency"] / 2
    assert median["schedule_lag"] < median["latency"] / 2
    assert seen["rate_achieved"] > 300  # 166/s leave


def test_what_no_client_was_free_for_is_unsent_and_counted(fake, client):
    """A server that never echoes a request: each client has one, and the others never leave."""
    seen = result(
        client(
            **OPEN | {"clients": 3, "drain_s": 0.3},
            port=fake(lambda c, data, _: None if data.startswith(b"!") else c.sendall(data)),
        )
    )
    assert seen["lost"] == 3
    assert seen["sent"] + seen["unsent"] == seen["intended"]
    assert seen["unsent"] >= seen["intended"] - 3
    assert latencies_of(seen).get_total_count() == seen["intended"]
    assert sum(each.get_total_count() for each in by_request(seen)) == seen["intended"]


def test_clients_take_turns(fake, client):
    """The client that has been free the longest is next, so all are used alike."""
    seen = result(client(**OPEN, port=fake(at_work([], {}))))
    assert seen["clients_without_echo"] == 0
    mean = seen["count_sum"] / seen["clients"]
    assert seen["least_messages"] >= mean / 2


def swapped():
    """A reply that gives each request the echo of the one before it, of whichever client."""
    last, lock = [b""], threading.Lock()

    def reply(connection, data, number):
        if not data.startswith(b"!"):
            connection.sendall(data)
            return
        with lock:
            answer, last[0] = last[0] or data, data
        connection.sendall(answer)

    return reply


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        ("altered", lambda c, data, n: c.sendall(data.replace(b"!wait", b"!wAit"))),
        ("doubled", lambda c, data, n: c.sendall(data * (1 + data.startswith(b"!")))),
        ("misdirected", swapped()),
    ],
)
def test_a_request_that_is_not_echoed_as_it_was_sent_is_a_fault(fake, client, fault, reply):
    """By its name, as with any message: an echo is of one client's one request."""
    seen = result(client(**OPEN | {"duration_s": 0.3}, port=fake(reply)))
    assert seen["faults"].get(fault, 0) > 0
    assert seen["altered"] == sum(seen["faults"].values())


def test_an_echo_may_come_in_pieces(fake, client):
    """Byte by byte, it is the same echo."""

    def reply(connection, data, number):
        for byte in data:
            connection.sendall(bytes([byte]))

    seen = result(client(**OPEN | {"rate": 50}, port=fake(reply)))
    assert (seen["altered"], seen["lost"], seen["errors"]) == (0, 0, {})
    assert seen["messages"] > 0


def test_a_client_that_leaves_is_not_used_again(fake, client):
    """The others serve what is still due; its own request is one error, and not lost as well."""

    def reply(connection, data, number):
        if data.startswith(b"!hold"):
            connection.close()
        else:
            connection.sendall(data)

    plan = OPEN | {"clients": 300, "rate": 300}
    seen = result(client(**plan, port=fake(reply)))
    assert sum(seen["errors"].values()) > 0
    assert (seen["lost"], seen["altered"], seen["unsent"]) == (0, 0, 0)
    assert sum(each.get_total_count() for each in by_request(seen)) == seen["intended"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "closed", "rate": 0}, "the plan's mix: kind closed has none; give kind open"),
        ({"mix": [{"line": "!wait 20\n"}]}, "mix[0].line"),
        ({"mix": [{"line": "!wait #20"}]}, "mix[0].line"),
        ({"mix": [{"line": "!wait 20", "share": 0}]}, "mix[0].share"),
    ],
)
def test_a_bad_mix_is_refused(client, change, says):
    """One line that names the key; nothing is opened."""
    said = client(expected_code=2, **OPEN | change, port=1)
    assert says in said
    assert said.count("\n") == 1
