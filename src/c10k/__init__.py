"""c10k: threads or an event loop past 10,000 clients? The engine.

declare → plan → run (launch, check, machine) → judge → render, with cli/ as the way in; model
has what flows, claims the experiments on what the talk claimed. See docs/architecture.md.

The names below are for programs and notebooks, and are stable (docs/api.md).
"""

from .errors import UserError as UserError
from .judge import judge as judge
from .render.records import records as records
from .run.store import load as load

__all__ = ["UserError", "judge", "load", "records"]
