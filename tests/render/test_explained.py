"""Guards what is said of the counts: rows, signs, sentences, and what a page may hold."""

import pytest

from c10k.model import Count, Explained
from c10k.render import explained

pytestmark = pytest.mark.once


def one(server, *, left_out=(), messages=None, flame="", **calls):
    """A server that makes these calls for each message."""
    counts = tuple(Count(name, "call", value, "perf") for name, value in calls.items())
    return Explained(server, counts, messages or {"perf": 12345}, left_out, flame)


def with_others(server, switches, instructions, **calls):
    """The same, with switches and instructions."""
    counts = (
        Count("involuntary switches", "switch", 9.0, "kernel"),
        Count("voluntary switches", "switch", switches, "kernel"),
        Count("instructions", "event", instructions, "perf"),
    )
    return Explained(server, counts + one(server, **calls).counts, {})


def test_a_row_has_both_servers_and_their_difference():
    """A call that a server does not make is zero; the most frequent comes first."""
    shown = explained.table([one("a", recvfrom=2.0, epoll_wait=0.04), one("b", read=1.0)])
    assert [title for title, _ in shown.headings] == [
        "for each message", "a", "b", "difference", "counted by",
    ]  # fmt: skip
    assert [line.cells for line in shown.lines] == [
        ("recvfrom", "2.00", "0", "+2.00", "perf"),
        ("read", "0", "1.00", "-1.00", "perf"),
        ("epoll_wait", "0.04", "0", "+0.04", "perf"),
    ]


def test_what_was_not_counted_is_not_zero():
    """Without strace and perf nothing is known of a server's calls."""
    shown = explained.table([one("a", read=1.0), Explained("b", (), {})])
    assert shown.lines[0].cells == ("read", "1.00", "–", "–", "perf")
    assert explained.sentences([one("a", read=1.0), Explained("b", (), {})]) == []


def test_one_server_has_a_table_and_no_sentence():
    """There is nothing to compare it with."""
    shown = explained.table([one("a", read=1.0)])
    assert shown.lines[0].cells == ("read", "1.00", "perf")
    assert explained.sentences([one("a", read=1.0)]) == []


def test_the_greatest_differences_are_said_in_sentences():
    """The server that has more comes first; what is nearly equal is left out."""
    a = one("a", epoll_wait=0.04, recvfrom=1.0, sendto=1.02)
    b = one("b", epoll_wait=0.011, recvfrom=1.35, sendto=1.0, futex=2.0)
    assert explained.sentences([a, b]) == [
        "b makes 200 futex calls for 100 messages, a none.",
        "b makes 135 recvfrom calls for 100 messages, a 100.",
        "a makes 4.00 epoll_wait calls for 100 messages, b 1.10.",
    ]


def test_switches_and_instructions_have_sentences_of_their_own():
    """But not involuntary switches, which depend on what else runs."""
    a = with_others("a", 1.0, 30_000, read=1.0)
    b = with_others("b", 0.1, 45_000, read=1.0)
    assert explained.sentences([a, b]) == [
        "Both make the same system calls for each message, or nearly so.",
        "a makes 100 voluntary switches for 100 messages, b 10.0.",
        "b takes 45,000 instructions for each message, a 30,000.",
    ]


def test_a_reason_is_said_once_with_its_servers():
    """Missing programs are missing for both."""
    found = [one("a", left_out=("x: no", "y: no")), one("b", left_out=("x: no",))]
    assert explained.left_out(found) == ["a, b: x: no", "a: y: no"]
    assert explained.footnotes(found)[0] == "a: counted over 12,345 messages (perf)"


def test_waits_that_strace_has_counted_come_with_a_warning():
    """It changes how often a server waits, and perf does not."""
    slowed = Explained("a", (Count("futex", "call", 250.0, "strace"),), {})
    (warning,) = explained.footnotes([slowed])
    assert "futex" in warning
    assert not any("futex" in line for line in explained.footnotes([one("a", futex=1.0)]))


def test_a_page_obeys_nothing_that_a_server_is_called():
    """Names are text; a picture is data; no other address is named."""
    found = [one("<script>", read=1.0, left_out=("<b>: no",)), one("b", read=3.0)]
    page = explained.page(found, 100, {"<script>": b"<svg/>", "b": b"<svg/>"})
    assert "<script>" not in page
    assert "<b>" not in page
    assert page.count('src="data:image/svg+xml;base64,') == 2
    assert "http" not in page.replace("http-equiv", "")


def test_programs_get_all_of_it():
    """Counts with their difference, and the messages that they are divided by."""
    found = explained.as_dict([one("a", read=1.0, flame="a.svg"), one("b", read=3.0)], 100)
    assert found["counts"] == [
        {
            "name": "read",
            "kind": "call",
            "per_message": [1.0, 3.0],
            "by": "perf",
            "difference": -2.0,
        }
    ]
    assert found["messages"] == {"a": {"perf": 12345}, "b": {"perf": 12345}}
    assert found["flame_graphs"] == {"a": "a.svg"}
