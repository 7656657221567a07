"""A session, from its plan to its folder; and c10k explain, which drives the same load.

begin.py         begin() and resume(): what the command and the benches start a session with
prepare.py       what each server runs on, and its conformance check
session.py       the loop: every trial of the plan, each stored at once
executor.py      one trial, the same wherever it runs
local.py         this machine; cluster/ several
worker_plans.py  how a load is split over the workers
workers.py       the workers' processes
drive.py         takes workers from the barrier through the slice
events.py        what workers say
merge.py         adds up what they saw
store.py         the session's folder
explain/         what a server does for each message; apart from any session
"""
