"""The command as a user runs it."""

import os
import subprocess
import sys


def c10k(*words, code=0, environment=None, **options):
    """Runs the command as a process; its output, its exit code checked, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "c10k", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(environment or {})},
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done
