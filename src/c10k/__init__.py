"""c10k: threads or an event loop past 10,000 clients? The engine.

declare (catalog, workload) → plan → run (session: launch, drive, watch) → store → judge → render
"""
