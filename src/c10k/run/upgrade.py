"""Trials of schema 1, as later ones have them.

There a gate was a sentence that began with its kind, and what a failed trial ran out of was
looked for in its reason: both are values now, and are taken out of the sentences here, once.
"""

from typing import Any

from . import causes


def trial(raw: Any) -> Any:
    """One line of trials.jsonl, decoded; what is not of schema 1 stays as it is."""
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
