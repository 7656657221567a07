"""Judged → text: pure. table.py holds what the columns are, once, for every format."""
