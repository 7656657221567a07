"""c10k: threads or an event loop past 10,000 clients? The engine.

declare → plan → run (launch, check, machine) → judge → render, with cli/ as the way in; model
has what flows, claims the experiments on what the talk claimed. See docs/architecture.md.
"""
