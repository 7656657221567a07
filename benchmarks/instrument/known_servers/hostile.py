# /// script
# requires-python = ">=3.11"
# [tool.c10k]
# title = "hostile"
# model = "thread per client"
# unit = "thread"
# tier = "variant"
# ///
"""Echoes rightly, and does whatever else it can: forks children that leave its session,
ignores SIGTERM, writes where it finds a folder, prints without end, opens files, signals.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

signal.signal(signal.SIGTERM, signal.SIG_IGN)
for leaves in (False, True, True):
    if os.fork() == 0:
        if leaves:
            os.setsid()
            if os.fork():
                os._exit(0)
        while True:
            signal.pause()

opened = []
with contextlib.suppress(OSError):
    while len(opened) < 500:
        opened.append(os.open("/dev/null", os.O_RDONLY))
logs = Path("/proc/self/fd/2").readlink().parent
for place in (logs, logs.parent, Path.home(), Path("/tmp"), Path.cwd()):
    with contextlib.suppress(OSError):
        (place / "written-by-the-hostile-server").write_text("x" * 1000)
with contextlib.suppress(OSError):
    (logs.parent / "trials.jsonl").write_text("nothing was measured\n")
with contextlib.suppress(OSError):
    os.kill(os.getppid(), signal.SIGKILL)


def shout():
    with contextlib.suppress(OSError):
        while True:
            sys.stderr.write("x" * 1_000_000)
            sys.stdout.write("y" * 1_000_000)


def echo(client):
    with client, contextlib.suppress(OSError):
        while data := client.recv(65536):
            client.sendall(data)


threading.Thread(target=shout, daemon=True).start()
listener = socket.socket(fileno=0)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
