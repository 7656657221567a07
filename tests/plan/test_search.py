"""Guards the search for the breaking point: it finds what was planted, and always ends."""

import made
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c10k import plan
from c10k.declare import workload
from c10k.judge import judge
from c10k.model import Latency, Noise, Search
from c10k.plan import search
from c10k.render import markdown
from c10k.run import session, store

OPEN = made.load(100, kind="open", rate=5000.0, arrivals="poisson")


def searching(names=("alpha",), least=100, most=100_000, **level):
    """A session that searches, with nothing measured."""
    whole = made.session(list(names), [msgspec.structs.replace(OPEN, clients=least)], 1)
    workload = msgspec.structs.replace(whole.plan.workload, search=Search(least, most, **level))
    servers = [made.server(name) for name in names]
    return msgspec.structs.replace(whole, plan=plan.make(workload, servers, 1), measurements=())


def p99(us):
    return Latency(20_000, us, us, us, None, us)


def run(begun, measure):
    """Runs it as session.run() does; measure(trial) → Measurement."""
    measured = []
    queue = begun.plan.trials
    while queue:
        measured += map(measure, queue)
        assert len(measured) < 500
        queue = search.following(begun.plan, measured)
    return msgspec.structs.replace(begun, measurements=tuple(measured))


def limited(limits):
    """Servers that serve so many clients and no more."""

    def measure(trial):
        limit = limits[trial.server]
        if trial.load.clients <= limit:
            return made.ok(trial, latency=p99(900.0))
        reason = f"{limit} of {trial.load.clients} clients served; Too many open files"
        return made.ok(trial, status="failed", reason=reason, cause="descriptors", served=limit)

    return measure


@given(st.integers(1, 100_000), st.integers(1, 1000), st.sampled_from([0.01, 0.1]))
def test_a_planted_limit_is_found_to_within_what_was_asked(limit, least, within):
    """From any start, up or down; the bracket holds the truth and is as narrow as asked."""
    done = run(searching(least=least, most=200_000, within=within), limited({"alpha": limit}))
    (point,) = judge(done).breaking
    assert point.holds <= limit < point.fails
    assert point.fails - point.holds <= max(1, within * point.holds)
    assert (point.broke, point.served) == ("descriptors", limit)
    assert search.following(done.plan, done.measurements) == []


def test_each_server_has_its_own_limit_and_the_table_says_what_broke():
    """Servers go on separately; one that never breaks is printed as a bound."""
    done = run(searching(("alpha", "beta"), most=20_000), limited({"alpha": 1234, "beta": 10**9}))
    alpha, beta = judge(done).breaking
    assert (beta.holds, beta.fails) == (20_000, None)
    assert 1222 <= alpha.holds <= 1234
    said = table_text(done)
    assert "≥ 20,000" in said
    assert "descriptors" in said


def table_text(done):
    return markdown.render(judge(done)).replace("\\", "")


def test_a_server_that_holds_nothing_says_so():
    """Down to one client, and then it is over."""
    (point,) = judge(run(searching(), limited({"alpha": 0}))).breaking
    assert (point.holds, point.fails) == (None, 1)


def test_a_slow_server_breaks_by_latency():
    """p99 above the level is a miss like any other."""

    def measure(trial):
        return made.ok(trial, latency=p99(100_001.0 if trial.load.clients > 700 else 5000.0))

    (point,) = judge(run(searching(), measure)).breaking
    assert point.broke == "latency"
    assert point.holds <= 700 < point.fails
    assert point.p99_us == 5000.0


def test_one_unlucky_trial_decides_nothing():
    """A count fails when it failed twice; a noisy machine's trial does not count at all."""
    unlucky = set()

    def measure(trial):
        clients = trial.load.clients
        if clients not in unlucky:
            unlucky.add(clients)
            return made.failed(trial)
        return limited({"alpha": 5000})(trial)

    (point,) = judge(run(searching(), measure)).breaking
    assert 4950 <= point.holds <= 5000 < point.fails
    noisy = made.ok(searching().plan.trials[0], gates=(made.gate("others"),), noise=Noise())
    assert search.bracket([noisy], Search(1, 10)) == (None, None)


def test_a_machine_that_is_always_noisy_ends_the_search():
    """No endless session: after some tries at one count a server is given up."""
    done = run(searching(), lambda t: made.ok(t, gates=(made.gate("steal"),)))
    assert len(done.measurements) < 10
    assert judge(done).breaking[0].holds is None


def test_a_search_that_was_cut_short_goes_on_where_it_stopped(tmp_path):
    """What follows depends on what is stored, and on nothing else."""
    begun, measure = searching(), limited({"alpha": 3000})
    whole = run(begun, measure)
    made.kept(tmp_path / "s", msgspec.structs.replace(begun, measurements=whole.measurements[:5]))
    head, writer = store.resume(tmp_path / "s")
    session.run(
        head.plan,
        measure,
        writer,
        done=head.measurements,
        more=lambda measured: search.following(head.plan, measured),
    )
    again = store.load(tmp_path / "s")
    assert [m.trial for m in again.measurements] == [m.trial for m in whole.measurements]


@pytest.mark.parametrize("wrong", ["closed", "two"])
def test_a_search_needs_one_open_load(wrong):
    """A fixed rate is what makes a service level; the error names the key."""
    load = '[[load]]\nkind = "closed"\nclients = 1\n'
    if wrong == "two":
        load = '[[load]]\nkind = "open"\nrate = 5\nclients = [1, 2]\n'
    text = f'title = "t"\nservers = ["a"]\n[search]\nleast = 1\nmost = 5\n{load}'
    with pytest.raises(workload.WorkloadError, match=r"w.toml: search"):
        workload.parse(text, "w.toml")
