"""The command as a user runs it."""

import os
import subprocess
import sys

COMMAND = (sys.executable, "-m", "c10k")


def c10k(*words, code=0, command=COMMAND, environment=None, timeout_s=120, **options):
    """Runs the command as a process; its output, its exit code checked, no traceback.

    code=None lets it end with any code; environment is added to this process's own.
    """
    done = subprocess.run(
        [*command, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **(environment or {})},
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert code in (None, done.returncode), (done.returncode, done.stdout, done.stderr)
    return done
