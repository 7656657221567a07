"""What the experiments on the talk's claims found."""

from typing import Literal

from msgspec import Struct

from .declared import BoundedFloat, BoundedInt, Environment
from .measured import Noise

Decision = Literal["supported", "refuted", "depends", "not resolved", ""]


class ClaimFigure(Struct, frozen=True):
    """A median over repetitions and its 95 % interval; no ends: too few to say."""

    name: str
    median: BoundedFloat
    low: BoundedFloat | None
    high: BoundedFloat | None
    repetitions: BoundedInt
    unit: str = ""


class ClaimPart(Struct, frozen=True):
    """One of the things that a claim says, and what the evidence says of it."""

    what: str
    decision: Decision  # "": shown for comparison, decides nothing
    figures: tuple[ClaimFigure, ...] = ()


class Outcome(Struct, frozen=True):
    """A claim after its experiment."""

    claim: str
    words: str
    experiment: str
    rule: str
    decision: Decision
    parts: tuple[ClaimPart, ...]
    reason: str = ""  # why the experiment could not be made
    samples: dict[str, tuple[BoundedFloat, ...]] = {}  # the evidence: one value a repetition
    took_s: BoundedFloat = 0.0
    noise: Noise = Noise()


class ClaimsHead(Struct, frozen=True):
    """When, where and how outcomes were made."""

    schema: int
    c10k: str
    started_at: str
    quick: bool
    ladder: str  # the session that some claims were decided by
    environment: Environment
