"""Runs one client process against one server, without the suite, for client_cost.py."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from c10k import launch, paths

LIMIT_S = 120


def arguments(about: str, rounds: int, seconds: float) -> argparse.Namespace:
    """--rounds, --seconds and --json, with these defaults."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds, help="of each measured slice")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser.parse_args()


def shared(plan: Mapping[str, object], core: int | None) -> list[dict[str, Any]]:
    """The events of a run of the shared client; ends the program if an echo was wrong."""
    command = [sys.executable, str(paths.CLIENT), "--plan", "-"]
    events = run(command, core, json.dumps(plan) + "\n")
    result = events[-1]
    if result["lost"] or result["altered"] or result["errors"]:
        sys.exit(f"the echoes were not whole: {result['lost']} lost, {result['errors']}")
    return events


def run(command: list[str], core: int | None, given: str = "") -> list[dict[str, Any]]:
    """The JSON lines of a client that runs on one core (None: on any)."""
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        preexec_fn=launch.ChildSetup(None if core is None else [core]),
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]
