"""What a session does, as people write it: workload files, server files, words. Runs nothing.

workload.py   a workload's .toml file
catalog.py    reads server files, finds those that have a name here
choosing.py   names, @tiers, paths and commands → servers
template.py   the text of a new server
toml.py, units.py   text that people write: files, and counts, shares, times
"""
