"""Why one server is slower: what it does for each message, counted apart from any session.

counting.py     a server under a closed loop with one instrument, and all runs of a server
instruments.py  strace, perf, the kernel's counts of switches, py-spy: attached and detached
parsing.py      what they write → counts; pure

An instrument disturbs what it observes. So each has a run of its own, no rate is taken from
these runs, and no session is written.
"""

from .counting import SECONDS as SECONDS
from .counting import Setting as Setting
from .counting import admit as admit
from .counting import explain as explain
