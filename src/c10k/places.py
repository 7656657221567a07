"""Where the suite's own files are, and where it may keep what it can make again.

In a checkout servers/, clients/ and benchmarks/ stand at the top, beside src/; an
installed wheel carries the same folders inside the package. Nothing else in the
engine knows the difference.
"""

import os
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[1]
SUITE = _CHECKOUT if (_CHECKOUT / "servers").is_dir() else _HERE / "suite"

SERVERS = SUITE / "servers"
CLIENT = SUITE / "clients" / "echo_client.py"
WORKLOADS = SUITE / "benchmarks" / "workloads"


def cache() -> Path:
    """The folder for built servers and remembered checks ($XDG_CACHE_HOME/c10k)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "c10k"
