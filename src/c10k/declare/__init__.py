"""Reads what people write about a session: workload files, server files, words. Runs nothing.

workload.py   a workload's .toml file → Workload
catalog.py    server files → servers, and those that can be named
choosing.py   names, @tiers, paths and commands → servers
template.py   the text of a new server
toml.py       files and TOML; values.py: their values as the model's types
units.py      counts, shares and times as people write them
"""
