"""Threads race; cooperative code does not."""

import json
import math
from typing import NamedTuple

from _loading import called, shuffled, unit
from msgspec.structs import replace

from c10k.claims import always, figure

WORDS = "Threads race; cooperative code does not."
EXPERIMENT = """
Ten units add 1 to one counter, 20,000 times each (200 times where they switch every time).
Threads, which are set to switch as often as possible, do it in six ways: by `+= 1` on an attribute,
on an element of a list and on a value of a dictionary; by `append` to a list, whose length is the
count; by a read, a call and a write; and by the same under a lock, the control. Cooperative units
of each framework do it in two: by the read, the call and the write; and by the same with a switch
(await, or a greenlet's sleep) between the read and the write. Measured is how many updates are
lost.
"""
RULE = """
Threads lose updates, for each way: supported when some are lost in every repetition, refuted when
none is ever lost. The lock must lose none, else nothing is resolved. Every result with threads
holds only for the interpreter that it was measured on, with its lock or without: with it, from
Python 3.10 on, threads switch only at calls and backward jumps, and `+= 1` contains none; without
it, threads run at the same time. Cooperative code without a switch in between loses none: supported
when none is ever lost, refuted when some are in every repetition. With a switch in between it loses
updates by construction, on every framework; that is shown for comparison and decides nothing.
"""
LOCKED = "under a lock"  # the name in units/counter.py
DECIDES_NOTHING = (LOCKED, "with a switch in between")


class Sample(NamedTuple):
    """Updates that units of one kind lost in one way."""

    framework: str  # or threads
    way: str
    interpreter: str = ""  # in words, if the result holds for it only


def measure(setting):
    samples: dict[Sample, list[float]] = {}
    for block in range(setting.repetitions):
        for interpreter in shuffled(setting.interpreters, block):
            setting.say(f"threads on {called(interpreter)}, repetition {block + 1}")
            found = json.loads(unit("counter.py", "threads", python=interpreter.path))
            for way, lost in found["lost"].items():
                sample = Sample("threads", way, called(interpreter))
                samples.setdefault(sample, []).append(lost)
        for framework in ("gevent", "twisted", "asyncio", "uvloop", "curio", "trio"):
            setting.say(f"{framework}, repetition {block + 1}")
            found = json.loads(unit("counter.py", framework))
            for way, lost in found["lost"].items():
                samples.setdefault(Sample(framework, way), []).append(lost)
    return samples


def decide(samples):
    locked = [lost for sample, each in samples.items() if sample.way == LOCKED for lost in each]
    sound = bool(locked) and not any(locked)
    for (framework, way, interpreter), lost in samples.items():
        beside = [figure("updates lost", lost, most=math.inf)]
        if framework == "threads":
            what = ", ".join(filter(None, (f"threads lose updates {way}", interpreter)))
            one = always(what, lost, name="lost some", beside=beside)
        else:
            none = [not each for each in lost]
            one = always(f"{framework} loses none {way}", none, name="lost none", beside=beside)
        if way in DECIDES_NOTHING:
            yield replace(one, decision="")
        else:
            yield one if sound else replace(one, decision="not resolved")
