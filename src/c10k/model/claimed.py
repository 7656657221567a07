"""The outcomes of the experiments on the talk's claims."""

from typing import Literal

from msgspec import Struct

from .declared import BoundedFloat, BoundedInt, Environment
from .measured import Noise

Decision = Literal["supported", "refuted", "depends", "not resolved", ""]


class ClaimFigure(Struct, frozen=True):
    """A median over repetitions and its 95 % interval; ends are None with too few repetitions."""

    name: str
    median: BoundedFloat
    low: BoundedFloat | None
    high: BoundedFloat | None
    repetitions: BoundedInt
    unit: str = ""


class ClaimPart(Struct, frozen=True):
    """One part of a claim, and the decision that the evidence gives."""

    what: str
    decision: Decision  # "": shown for comparison, decides nothing
    figures: tuple[ClaimFigure, ...] = ()


class Outcome(Struct, frozen=True):
    """A claim, its experiment and the decision on it."""

    claim: str
    words: str
    experiment: str
    rule: str
    decision: Decision
    parts: tuple[ClaimPart, ...]
    reason: str = ""  # why the experiment failed; "": it did not
    samples: dict[str, tuple[BoundedFloat, ...]] = {}  # the evidence: one value per repetition
    took_s: BoundedFloat = 0.0
    noise: Noise = Noise()


class ClaimsHead(Struct, frozen=True):
    """When, where and how the outcomes of a folder were produced."""

    schema: int
    c10k: str
    started_at: str
    quick: bool
    ladder: str  # the session that decided some of the claims
    environment: Environment
