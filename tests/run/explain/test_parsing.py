"""Guards what is read from strace, perf and the kernel."""

import pytest

from c10k.run.explain import parsing
from c10k.run.explain.parsing import Switches

pytestmark = pytest.mark.once

STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 51.02    0.123456           3     40000           sendto
 40.11    0.100000           2     47139      7139 recvfrom
  8.87    0.020000         952        21         1 epoll_wait
  0.00    0.000000           0         1           newfstatat
------ ----------- ----------- --------- --------- ----------------
100.00    0.243456           2     87161      7140 total
System call usage summary for 32 bit mode:
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
100.00    0.000005           5         2           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000005           5         2           total
"""

PERF = """\
# started on Fri Nov 27 05:12:15 2026

<not supported>,,instructions,0,100.00,,
1234567890,,cycles:u,540691,100.00,3.1,GHz
57408,,syscalls:sys_enter_sendto,540691,100.00,,
3,,syscalls:sys_enter_newfstat,540691,100.00,,
<not counted>,,syscalls:sys_enter_brk,0,100.00,,
"""

STATUS = """\
Name:	python
TracerPid:	{tracer}
voluntary_ctxt_switches:	{voluntary}
nonvoluntary_ctxt_switches:	{involuntary}
"""


def test_the_calls_of_strace_are_counted_without_its_errors_and_totals():
    """With and without failed calls, and over both kinds of programs."""
    assert parsing.strace_counts(STRACE) == {
        "sendto": 40002,
        "recvfrom": 47139,
        "epoll_wait": 21,
        "newfstatat": 1,
    }
    assert parsing.strace_counts("strace: Process 7 attached\n") == {}


def test_an_event_that_perf_cannot_count_is_not_zero():
    """System calls have strace's names; the other events lose what follows a colon."""
    assert parsing.perf_counts(PERF) == {
        "instructions": None,
        "cycles": 1234567890,
        "sendto": 57408,
        "fstat": 3,
        "brk": None,
    }


@pytest.mark.parametrize("call", ["sendto", "fstat", "stat", "uname", "epoll_wait"])
def test_a_call_keeps_its_name_through_perf(call):
    """Where the kernel's tracepoint has another name, it is translated both ways."""
    assert parsing.event_name(parsing.tracepoint(call)) == call


def test_a_status_says_who_traces_and_how_often_it_switched():
    """A status without them has none."""
    status = STATUS.format(tracer=42, voluntary=7, involuntary=3)
    assert parsing.tracer(status) == 42
    assert parsing.switches(status) == Switches(7, 3)
    assert parsing.tracer("") == 0
    assert parsing.switches("") is None


def test_switches_are_added_over_threads():
    """A new thread counts from zero; one that has ended is left out."""
    before = {1: Switches(10, 1), 2: Switches(5, 5)}
    after = {1: Switches(17, 2), 3: Switches(4, 0)}
    assert parsing.added(before, after) == Switches(11, 1)


def test_a_flame_graph_is_called_as_its_server_is():
    """Not as the command that drew it, which names the user's folders."""
    drawn = '<svg><text id="title" x="50.0%">/home/me/py-spy record</text><text id="x">y</text>'
    assert parsing.titled(drawn, "a<b") == (
        '<svg><text id="title" x="50.0%">a&lt;b</text><text id="x">y</text>'
    )
