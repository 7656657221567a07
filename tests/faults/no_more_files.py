"""`c10k run`, in whose n-th trial the n-th place that opens something finds no descriptor left.

    python no_more_files.py SEEN WORDS…

A place is where our own code opens a file, a folder, a socket or a process, with the three
lines of ours that led there. SEEN takes a line for each that failed.
"""

import errno
import os
import sys
import traceback
from pathlib import Path

import c10k
from c10k import cli
from c10k.run import session

OPENING = {
    "open", "os.listdir", "os.scandir", "shutil.rmtree", "socket.__new__", "subprocess.Popen",
}  # fmt: skip
OURS = str(Path(c10k.__file__).parent)


class Failing:
    """An audit hook: raises at one place of a trial, once."""

    def __init__(self, seen):
        self.seen = seen
        self.left = None  # places before the one that fails; None: nothing fails
        self.known = set()

    def trial(self, number):
        self.left, self.known = number, set()

    def __call__(self, event, arguments):
        if self.left is None or event not in OPENING:
            return
        left, self.left = self.left, None  # reading the stack opens files, too
        stack = traceback.extract_stack(sys._getframe(1))
        ours = [(f.filename, f.lineno) for f in stack if f.filename.startswith(OURS)][-4:]
        place = (event, *ours)
        if place not in self.known and not left:
            with self.seen.open("a") as file:
                file.write(" ".join(f"{Path(path).name}:{line}" for path, line in ours) + "\n")
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(arguments[0]))
        self.left = left - (place not in self.known)
        self.known.add(place)


if __name__ == "__main__":
    failing = Failing(Path(sys.argv[1]))
    run = session.run

    def failing_run(plan, execute, writer, **more):
        def failing_execute(trial):
            failing.trial(trial.block)
            try:
                return execute(trial)
            finally:
                failing.left = None

        run(plan, failing_execute, writer, **more)

    session.run = failing_run
    sys.addaudithook(failing)
    sys.argv[:2] = ["c10k"]
    cli.main()
