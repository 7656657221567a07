"""Several machines, on Dask distributed: one serves, the others are the clients.

facts.py    what a host is, allows and has installed; what must be the same on all hosts
share.py    how many clients each host has, or why they do not fit: pure
hosts.py    what runs on the hosts, and ends by itself when nobody asks for it any more
remote.py   a trial on them: the server's host and the crew of client hosts
cluster.py  the command's side: finds the hosts, decides where a trial runs

Dask is an extra, and not imported before a scheduler is connected to.
"""

from .cluster import Cluster, connect
from .facts import ClusterError

__all__ = ["Cluster", "ClusterError", "connect"]
