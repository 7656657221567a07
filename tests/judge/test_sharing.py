"""Guards the spread: how evenly clients and work fall on a server's processes or threads."""

import json

import made
import msgspec
import pytest

from c10k.judge import judge
from c10k.model import Measurement, ServerUse, Worker
from c10k.render import html, markdown, records, table

pytestmark = pytest.mark.once

FIGURES = ("workers", "worker_clients_most", "worker_clients_fairness")
WORK = ("worker_cpu_most", "worker_cpu_fairness")


def judged(*workers, kind="closed"):
    """A session of a single trial, whose server had these workers: (CPU time in s, clients)."""
    use = ServerUse(workers=tuple(Worker(*each) for each in workers))
    return judge(
        made.session(
            ["alpha"],
            [made.load(100, kind=kind)],
            1,
            lambda trial: made.ok(trial, server=use),
        )
    )


def figures(names, *workers, kind="closed"):
    """Their medians in the session's only row; None for what is not known."""
    (row,) = judged(*workers, kind=kind).rows
    return [getattr(row, name) and getattr(row, name).median for name in names]


@pytest.mark.parametrize(
    ("workers", "clients", "work"),
    [
        ([(0.0, 0), (2.0, 100)], [2, 1, 0.5], [1, 0.5]),
        ([(1.0, 50), (1.0, 50)], [2, 0.5, 1], [0.5, 1]),
        ([(3.0, 75), (1.0, 25)], [2, 0.75, 0.8], [0.75, 0.8]),
        ([(1.0, 0), (1.0, 0)], [2, None, None], [0.5, 1]),
        ([(None, 75), (1.0, 25)], [2, 0.75, 0.8], [None, None]),
        ([], [None] * 3, [None, None]),
    ],
    ids=["one has all", "even", "uneven", "no clients", "CPU not known", "one worker"],
)
def test_the_index_and_the_greatest_share(workers, clients, work):
    """One that has all of two: Jain's index is 1/2, the share 1. Even: 1, and 1/2."""
    assert figures(FIGURES, *workers) == clients
    assert figures(WORK, *workers) == work


def test_idle_clients_are_counted_and_give_no_work():
    """What a server does while nobody speaks is not its clients' work."""
    assert figures(FIGURES + WORK, (0.001, 75), (0.003, 25), kind="idle") == [
        *(2, 0.75, 0.8),
        *(None, None),
    ]


def test_a_session_from_before_the_spread_was_read_has_none():
    """Its server's readings have no workers; it loads, and no table is added."""
    trial = made.session().plan.trials[0]
    old = json.loads(msgspec.json.encode(made.ok(trial)))
    del old["server"]["workers"]
    seen = msgspec.convert(old, Measurement)
    assert seen.server.workers == ()
    assert spread(judge(made.session(measure=lambda trial: seen))) == []


def spread(found):
    return [each for each in table.tables(found) if each.title.startswith("Spread")]


def test_the_table_is_shown_where_a_server_has_several_workers():
    """The even share stands beside the greatest; the same numbers are in Markdown and records."""
    found = judged((3.0, 75), (1.0, 25))
    (shown,) = spread(found)
    (line,) = shown.lines
    assert line.cells == ("closed 64 B", "100", "alpha", "2", "50.0", "75.0", "0.8", "75.0", "0.8")
    assert "Spread: how clients" in markdown.render(found)
    assert records.as_dict(found.rows[0])["worker_clients_most"] == 0.75
    (alone,) = judged().rows
    assert spread(judged()) == []
    assert records.as_dict(alone)["workers"] is None


def test_the_page_shows_the_table():
    """The report has it, and filters it by the server like any other table."""
    use = ServerUse(workers=(Worker(3.0, 75), Worker(1.0, 25)))
    session = made.session(["alpha"], measure=lambda trial: made.ok(trial, server=use))
    page = html.render([html.PageSession("made", session, judge(session))])
    assert "Spread: how clients" in page
