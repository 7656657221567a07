"""Several machines, on Dask distributed: one serves, the others are the clients.

facts.py     what a host is, allows and has installed; how they must agree
share.py     how many clients each host has, or why they do not fit: pure
hosts.py     what runs on the hosts, and ends by itself when nobody asks for it any more
remote.py    a trial on them: the server's host and the crew of client hosts
machines.py  the command's side: finds the hosts, says where a trial runs

Nothing of Dask is imported before a scheduler is connected to; it is an extra.
"""

from .facts import ClusterError
from .machines import Cluster, connect

__all__ = ["Cluster", "ClusterError", "connect"]
