"""One primitive of one framework, measured in a process of its own; prints JSON.

  python benchmarks/micro/one.py FRAMEWORK PRIMITIVE [--rounds 7] [--operations N]
  python benchmarks/micro/one.py FRAMEWORK memory [--operations UNITS]

Each has its own process, because frameworks would disturb each other in one: gevent's loop
reaps the children of others, and a Twisted reactor starts only once. The timed part is what
the framework's function does in `with timed:`, within its running loop. The first round is a
warm-up and is left out.
"""

import argparse
import importlib
import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from primitives import FRAMEWORKS, GENERATORS, PRIMITIVES, Timed

sys.path.append(str(Path(__file__).resolve().parents[1]))  # curio_here


KNOWN = {each.name: each for each in (*PRIMITIVES, *GENERATORS)}


def own_bytes() -> tuple[int, int]:
    """This process's anonymous memory (heap, stacks), and the kernel's stacks of all threads."""
    return _bytes("/proc/self/smaps_rollup", "Pss_Anon"), _bytes("/proc/meminfo", "KernelStack")


def _bytes(path: str, name: str) -> int:
    (kib,) = re.findall(rf"^{name}:\s+(\d+) kB", Path(path).read_text(), re.MULTILINE)
    return int(kib) * 1024


def memory(framework: ModuleType, units: int) -> dict[str, float]:
    """Bytes that one unit takes while it only waits."""
    readings: list[tuple[int, int]] = []
    framework.run(lambda: framework.hold(100, own_bytes))  # creates what is made only once
    framework.run(lambda: framework.hold(units, lambda: readings.append(own_bytes())))
    (own, kernel), (own_held, kernel_held) = readings
    return {
        "bytes_per_unit": (own_held - own) / units,
        "kernel_stack_bytes_per_unit": (kernel_held - kernel) / units,
    }


def seconds(run: Callable[..., object], function: Callable[..., object], *given: int) -> float:
    """How long the timed part of a primitive takes, in seconds."""
    timed = Timed()
    run(lambda: function(timed, *given))
    return timed.seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("framework", choices=[*FRAMEWORKS, "generators"])
    parser.add_argument("primitive", choices=[*KNOWN, "memory"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--operations", type=int)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        framework = importlib.import_module(f"frameworks.{given.framework}_")
    except ImportError as error:
        print(json.dumps({"not_here": str(error)}))
        return
    if given.primitive == "memory":
        print(json.dumps(memory(framework, given.operations or 10_000)))
        return
    primitive = KNOWN[given.primitive]
    function = getattr(framework, primitive.function, None)
    if function is None:
        print(json.dumps({"no_such_thing": primitive.title}))
        return
    operations = given.operations or primitive.operations
    took = [
        seconds(framework.run, function, operations, *primitive.arguments)
        for _ in range(given.rounds + 1)
    ]
    print(json.dumps({"operations": operations, "seconds": took[1:]}))


if __name__ == "__main__":
    main()
