"""Finds, reads and runs claims."""

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ..launch.interpreter import Interpreter
from ..launch.watch import Surroundings
from ..model import Outcome
from .kept import ClaimError
from .rules import HOLDS, Samples, decided

# Repetitions. Six is the fewest whose extremes enclose the median 95 % of the time.
FULL, QUICK = 6, 3


@dataclass(frozen=True)
class Setting:
    """What an experiment gets as its argument."""

    quick: bool
    repetitions: int
    ladder: Path  # folder of a session of c10k.toml, which some claims read
    interpreters: tuple[Interpreter, ...]  # for experiments with threads; first the one here
    folder: Path  # for logs
    say: Callable[[str], None]  # reports progress, one line per call


def find(folder: Path) -> dict[str, Path]:
    """The claims in a folder: name → file."""
    return {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}


def choose(wanted: Sequence[str], known: Mapping[str, Path]) -> dict[str, ModuleType]:
    """Name → module of the claims given by names or paths; all known ones when none is given."""
    chosen = {}
    for word in wanted or known:
        path = known.get(word) or (Path(word) if word.endswith(".py") else None)
        if path is None:
            raise ClaimError(f"there is no claim {word!r}; choose from {', '.join(known)}")
        chosen[path.stem] = read(path)
    return chosen


def read(path: Path) -> ModuleType:
    """A claim's module. Raises ClaimError when the file is not a claim."""
    spec = importlib.util.spec_from_file_location(f"c10k_claim_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ClaimError(f"{path}: no such file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.absolute()))  # for modules that claims of one folder share
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ClaimError(f"{path}: cannot be imported: {' '.join(why.split())}") from None
    finally:
        sys.path.pop(0)
    missing = [name for name in HOLDS if not hasattr(module, name)]
    if missing:
        raise ClaimError(f"{path}: not a claim: {', '.join(missing)} missing (see src/c10k/claims)")
    return module


def run(name: str, claim: ModuleType, setting: Setting) -> Outcome:
    """Runs the experiment and decides. If it fails, the outcome's reason says why."""
    began = time.monotonic()
    surroundings = Surroundings()
    samples: Samples = {}
    reason = ""
    try:
        samples = {key: tuple(map(float, values)) for key, values in claim.measure(setting).items()}
    except Exception as error:  # a claim may raise anything
        words = " ".join(str(error).split())
        reason = words if isinstance(error, RuntimeError) else f"{type(error).__name__}: {words}"
    return decided(
        name,
        claim,
        samples,
        reason=reason,
        took_s=time.monotonic() - began,
        noise=surroundings.noise(),
    )
