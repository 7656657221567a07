"""Runs the tests of the client with its inner loops under AddressSanitizer and UBSan.

  python tools/sanitize.py [ARGUMENTS OF PYTEST]

A fault in C ends the client with a report on standard error, and so fails the test.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLAGS = ("-g", "-O1", "-shared", "-fPIC", *SANITIZERS)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "inner_loops.so"
        source = ROOT / "clients" / "inner_loops.c"
        subprocess.run(["cc", *FLAGS, "-o", library, source], check=True)
        found = [
            subprocess.run(
                ["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
            ).stdout.strip()
            for name in ("libasan.so", "libubsan.so")
        ]
        told = {"C10K_TEST_LIBRARY": str(library), "C10K_TEST_PRELOAD": " ".join(found)}
        tests = sys.argv[1:] or ["tests/clients", "-k", "not asyncio"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *tests], cwd=ROOT, env=os.environ | told, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
