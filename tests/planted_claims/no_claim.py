"""Planted: it says nothing and measures nothing."""

WORDS = "I am no claim."
