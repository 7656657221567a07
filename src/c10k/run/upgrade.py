"""Converts stored trials of schema 1 to the current schema.

In schema 1 a gate was a sentence that began with its kind, and the cause of a failed trial was
only part of its reason. Both are values now; this module extracts them from the sentences.
"""

from typing import Any

from . import causes


def trial(raw: Any) -> Any:
    """Converts one decoded line of trials.jsonl; returns anything that is not of schema 1 as is."""
    if not isinstance(raw, dict):
        return raw
    gates = raw.get("gates")
    if isinstance(gates, list):
        raw["gates"] = [_gate(each) if isinstance(each, str) else each for each in gates]
    reason = raw.get("reason")
    if raw.get("status") == "failed" and "cause" not in raw and isinstance(reason, str):
        raw["cause"] = _cause(reason)
    return raw


def _gate(sentence: str) -> Any:
    kind, colon, words = sentence.partition(": ")
    return {"kind": kind, "words": words if colon else sentence}


def _cause(reason: str) -> str:
    if "stopped for memory" in reason:
        return "memory"
    return causes.of_words(reason) or ("connecting" if "clients served" in reason else "")
