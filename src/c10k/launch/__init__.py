"""A server on its listening socket, from its build to its end, and the readings of it.

server.py        starts it, waits for the first echo, ends it
certificate.py   what a server that speaks TLS shows its clients
listen.py        the socket that every server gets, and its accept queue
build.py         the command that starts it; what is compiled first: servers, clients
hooked.py        runs a server's file with a hook before it serves
backend.py       the Redis that it asks, if it needs one
child.py         what a child process does before it becomes a server
confine.py       where it can write (Landlock)
keeper.py        a process that ends all servers when the suite is killed
log.py           what it wrote on standard error
requirements.py  what it needs, and whether that is installed
interpreter.py   an interpreter of this machine: how it is found, and how it was built
runtime.py       the interpreter that the server runs on, or an environment made for it
lock.py          whether the lock (GIL) of a running server is on
processes.py     its tree of processes, and their CPU time
spread.py        how clients and work fall on its processes or threads
watch.py         what it uses and holds, and what else the machine does
"""

from .build import NotServing as NotServing
from .build import command as command
from .build import inner_loops as inner_loops
from .certificate import Certificate as Certificate
from .certificate import why_no_handshake as why_no_handshake
from .child import Child as Child
from .child import ChildSetup as ChildSetup
from .child import raise_descriptor_limit as raise_descriptor_limit
from .listen import BACKLOG as BACKLOG
from .listen import Backlog as Backlog
from .listen import backlog as backlog
from .listen import exposure as exposure
from .listen import listen as listen
from .log import LOG_BYTES as LOG_BYTES
from .log import last_line as last_line
from .log import trim as trim
from .server import READY_S as READY_S
from .server import REAP_S as REAP_S
from .server import STOP_S as STOP_S
from .server import Running as Running
from .server import Stopped as Stopped
from .server import serving as serving
from .server import start as start
