"""The worker's output: JSON lines on standard output, each flushed at once."""

import os

import msgspec


def say(event: str, **figures: object) -> None:
    """Writes one JSON line; a reader of the pipe sees the whole line or nothing yet."""
    data = memoryview(msgspec.json.encode({"event": event, **figures}) + b"\n")
    while data:
        data = data[os.write(1, data) :]
