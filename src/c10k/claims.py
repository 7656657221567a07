"""Claims: each an experiment with a decision rule that was fixed before it ran.

A claim is a module (benchmarks/claims, or any path) with

  WORDS       what is claimed, as people say it
  EXPERIMENT  what is done to see
  RULE        when it is supported and when refuted, in words
  measure(setting) → samples: name → one value a repetition; the evidence, which is kept
  decide(samples)  → parts: what the evidence says of each thing claimed; pure

A part about a figure is decided by an interval over repetitions that lies wholly on one
side of a bound, so too few or too restless repetitions leave it "not resolved". A part
that is true or not is decided by its being so each time, or never. The parts together
decide the claim.
"""

import importlib.util
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from . import places, stats
from .model import ClaimsHead, Decision, Figure, Outcome, Part
from .watch import Surroundings

SCHEMA = 1
# Repetitions. Six are the fewest whose extremes hold the median 95 % of the time.
FULL, QUICK = 6, 3
FILE = "claims.jsonl"
Samples = Mapping[str, Sequence[float]]
_HOLDS = ("WORDS", "EXPERIMENT", "RULE", "measure", "decide")


class ClaimError(Exception):
    """No such claim, a file that is none, or outcomes that cannot be read or kept."""


@dataclass(frozen=True)
class Setting:
    """What an experiment is given."""

    quick: bool
    repetitions: int
    ladder: Path  # a session of c10k.toml, for the claims that it decides
    python: str | None  # another interpreter to try beside this one
    folder: Path  # for logs
    say: Callable[[str], None]  # progress, a line each


# -- rules ---------------------------------------------------------------------------------


def figure(
    name: str, values: Sequence[float], unit: str = "", *, most: float | None = None
) -> Figure | None:
    """The median of some repetitions and its 95 % interval; None without any.

    Where all values are above zero it is taken of their logarithms, as everywhere in this suite.
    most: the figure is a share (1) or a number out of so many (math.inf: of any), and cannot be
    below zero nor above that; see _within.
    """
    if not len(values):
        return None
    if len(set(values)) == 1 and len(values) >= stats.MIN_BLOCKS:
        return Figure(name, values[0], values[0], values[0], len(values), unit)
    if most is not None:
        low, high = _within(values, most)
        return Figure(name, statistics.median(values), low, high, len(values), unit)
    there, back, end = (
        (math.log, math.exp, stats.undone) if min(values) > 0 else (float, float, float)
    )
    found = stats.median_interval([there(value) for value in values])
    low, high = (
        (end(found.low), end(found.high)) if found.blocks >= stats.MIN_BLOCKS else (None, None)
    )
    return Figure(name, back(found.median), low, high, found.blocks, unit)


def _within(values: Sequence[float], most: float) -> tuple[float | None, float | None]:
    """A 95 % interval of the median of what lies between 0 and most: none of it is outside.

    From six values on it has the k-th smallest and the k-th greatest as its ends (the interval
    of the sign test), which were seen, so they are possible. It asks nothing of how the values
    are spread; a share is often all or nothing. Below six no two of them hold the median 95 % of
    the time: Student's t interval stands in, cut to what is possible.
    """
    ordered, count = sorted(values), len(values)
    if count < stats.MIN_BLOCKS:
        return None, None
    beyond, chance = 0, 0.5**count  # that all of them lie on one side of the median
    while chance <= 0.025:
        beyond += 1
        chance += math.comb(count, beyond) * 0.5**count
    if beyond:
        return ordered[beyond - 1], ordered[count - beyond]
    found = stats.median_interval(ordered)
    return max(0.0, found.low), min(most, found.high)


def part(
    what: str,
    values: Sequence[float],
    *,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    unit: str = "",
    name: str = "",
    beside: Iterable[Figure | None] = (),
) -> Part:
    """One thing claimed: that a figure is above a bound, or below one.

    Supported when its whole interval is, refuted when none of it is, else not resolved.
    most: as for figure(). beside: figures that are shown with it and decide nothing.
    """
    if (above is None) == (below is None):
        raise ValueError("give one bound: above or below")
    main = figure(name or what, values, unit, most=most)
    decision: Decision = "not resolved"
    if main is not None and main.low is not None and main.high is not None:
        if above is not None:
            decision = side(main.low > above, main.high <= above)
        elif below is not None:
            decision = side(main.high < below, main.low >= below)
    return Part(what, decision, tuple(each for each in (main, *beside) if each is not None))


def always(
    what: str, seen: Sequence[float], *, name: str = "so", beside: Iterable[Figure | None] = ()
) -> Part:
    """One thing claimed that is so (not 0) or is not (0) at each repetition.

    Supported when it was so each time, refuted when never, else it depends; with fewer than
    stats.MIN_BLOCKS repetitions not resolved. name: what that is called.
    """
    count = len(seen)
    times = sum(map(bool, seen))
    decision: Decision = "not resolved"
    if count >= stats.MIN_BLOCKS:
        decision = side(times == count, times == 0)
        decision = "depends" if decision == "not resolved" else decision
    main = Figure(name, times, None, None, count, f"of {count} times")
    return Part(what, decision, (main, *(each for each in beside if each is not None)))


def side(holds: bool, fails: bool) -> Decision:
    """A decision from what is shown to hold and what is shown to fail."""
    if holds:
        return "supported"
    return "refuted" if fails else "not resolved"


def together(parts: Iterable[Part]) -> Decision:
    """What the parts say of the whole claim.

    Some supported and some refuted, or one that depends: it depends. All alike: that. Anything
    else is not resolved. Parts without a decision are shown for comparison and do not count.
    """
    found = {each.decision for each in parts} - {""}
    if {"supported", "refuted"} <= found or "depends" in found:
        return "depends"
    return found.pop() if len(found) == 1 else "not resolved"


# -- outcome and running -------------------------------------------------------------------


def find(folder: Path) -> dict[str, Path]:
    """The claims in a folder: name → file."""
    return {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}


def choose(wanted: Sequence[str], known: Mapping[str, Path]) -> dict[str, ModuleType]:
    """The claims that names and paths stand for; all that are known when none is named."""
    chosen = {}
    for word in wanted or known:
        path = known.get(word) or (Path(word) if word.endswith(".py") else None)
        if path is None:
            raise ClaimError(f"no claim is named {word!r}; there are {', '.join(known)}")
        chosen[path.stem] = read(path)
    return chosen


def read(path: Path) -> ModuleType:
    """A claim's module. Raises ClaimError where the file is none."""
    spec = importlib.util.spec_from_file_location(f"c10k_claim_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ClaimError(f"{path}: no such file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.absolute()))  # what claims of one folder share
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ClaimError(f"{path}: cannot be imported: {' '.join(why.split())}") from None
    finally:
        sys.path.pop(0)
    missing = [name for name in _HOLDS if not hasattr(module, name)]
    if missing:
        raise ClaimError(f"{path}: no claim: {', '.join(missing)} missing (c10k.claims says what)")
    return module


def run(name: str, claim: ModuleType, setting: Setting) -> Outcome:
    """Makes the experiment and decides. One that cannot be made has that as its reason."""
    began = time.monotonic()
    surroundings = Surroundings()
    kept: dict[str, tuple[float, ...]] = {}
    reason = ""
    try:
        for key, values in claim.measure(setting).items():
            kept[key] = tuple(map(float, values))
    except Exception as error:  # a claim is anybody's code
        words = " ".join(str(error).split())
        reason = words if isinstance(error, RuntimeError) else f"{type(error).__name__}: {words}"
    return decided(
        name,
        claim,
        kept,
        reason=reason,
        took_s=time.monotonic() - began,
        noise=surroundings.noise(),
    )


def decided(name: str, claim: ModuleType, samples: Samples, **about: Any) -> Outcome:
    """What samples say of a claim."""
    parts = tuple(claim.decide(samples))
    words, experiment, rule = (
        " ".join(getattr(claim, each).split()) for each in ("WORDS", "EXPERIMENT", "RULE")
    )
    kept = {key: tuple(values) for key, values in samples.items()}
    return Outcome(name, words, experiment, rule, together(parts), parts, samples=kept, **about)


# -- keeping -------------------------------------------------------------------------------


def begin(folder: Path, head: ClaimsHead) -> set[str]:
    """Starts a folder's file, or goes on with it; the claims that it holds already.

    A torn last line is cut off: its claim is made again.
    """
    path = folder / FILE
    if not path.exists():
        keep(folder, head)
        return set()
    found, outcomes = load(folder)
    if (found.quick, found.ladder) != (head.quick, head.ladder):
        raise ClaimError(f"{folder}: holds outcomes of another call; name another --out")
    text = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(text.rfind(b"\n") + 1)
    return {outcome.claim for outcome in outcomes}


def keep(folder: Path, line: ClaimsHead | Outcome) -> None:
    """Appends the head or a outcome to a folder's file; it is on disk when this returns."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("ab") as file:
            file.write(places.homeless(msgspec.json.encode(line).decode()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ClaimError(f"{folder / FILE}: cannot be written: {why}") from None


def load(folder: Path) -> tuple[ClaimsHead, tuple[Outcome, ...]]:
    """A folder's head and outcomes; a torn last line does not count. Raises ClaimError."""
    path = folder / FILE
    try:
        first, *rest = path.read_bytes().split(b"\n")[:-1] or [b""]
        head = msgspec.json.decode(first, type=ClaimsHead)
        if head.schema != SCHEMA:
            raise ClaimError(f"{path}: schema {head.schema}; this c10k reads schema {SCHEMA}")
        return head, tuple(msgspec.json.decode(line, type=Outcome) for line in rest)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ClaimError(f"{path}: cannot be read: {why}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ClaimError(f"{path}: not what c10k claims writes: {error}") from None
