"""Threads race; cooperative code does not."""

import json
import sys

from _loading import unit
from msgspec.structs import replace

from c10k.claims import always, figure

WORDS = "Threads race; cooperative code does not."
EXPERIMENT = """
Ten units add 1 to one counter, 20,000 times each (200 times where they switch every time).
Threads: by `counter += 1`; by a read, a call and a write; and so under a lock, the control.
Cooperative units of each framework: the read, the call and the write; and the same with a switch
(await, or a greenlet's sleep) between the read and the write. How many updates are lost.
"""
RULE = """
Threads lose updates: supported when some are lost in every repetition, refuted when none is ever
lost, of each way; the lock must lose none, else nothing is resolved. Cooperative code loses none:
supported when none is ever lost, refuted when some are in every repetition, without and with a
switch in between.
"""


def measure(setting):
    samples = {}
    for block in range(setting.repetitions):
        for python in filter(None, (sys.executable, setting.python)):
            setting.say(f"threads on {python}, repetition {block + 1}")
            found = json.loads(unit("counter.py", "threads", python=python))
            where = "" if python == sys.executable else f" on {found['python']}"
            for way, lost in found["lost"].items():
                samples.setdefault(f"threads|{way}{where}", []).append(lost)
        for framework in ("gevent", "twisted", "asyncio", "uvloop", "curio", "trio"):
            found = json.loads(unit("counter.py", framework))
            for way, lost in found["lost"].items():
                samples.setdefault(f"{framework}|{way}", []).append(lost)
    return samples


def decide(samples):
    locked = [lost for key, values in samples.items() if "under a lock" in key for lost in values]
    sound = bool(locked) and not any(locked)
    for key, lost in samples.items():
        framework, way = key.split("|")
        beside = [figure("updates lost", lost)]
        if framework == "threads":
            one = always(f"threads lose updates {way}", lost, name="lost some", beside=beside)
        else:
            none = [not each for each in lost]
            one = always(f"{framework} loses none {way}", none, name="lost none", beside=beside)
        if "under a lock" in way:
            yield replace(one, decision="")
        else:
            yield one if sound else replace(one, decision="not resolved")
