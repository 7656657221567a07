"""Claims: each an experiment with a decision rule that was fixed before it ran.

A claim is a module (benchmarks/claims, or any path) with

  WORDS       what is claimed, as people say it
  EXPERIMENT  what is done to see
  RULE        when it is supported and when refuted, in words
  measure(setting) → samples: what was measured → one value a repetition; the evidence, which
                     is kept. What was measured is a text, or a named tuple, which is kept as one
  decide(samples)  → parts: what the evidence says of each thing claimed; pure

A part about a figure is decided by an interval over repetitions that lies wholly on one
side of a bound, so too few or too restless repetitions leave it "not resolved". A part
that is true or not is decided by its being so each time, or never. The parts together
decide the claim.

rules.py       decides parts by figures over repetitions
experiment.py  finds, reads and runs claims
kept.py        the folder of their outcomes
"""

from .experiment import FULL as FULL
from .experiment import QUICK as QUICK
from .experiment import Setting as Setting
from .experiment import choose as choose
from .experiment import find as find
from .experiment import read as read
from .experiment import run as run
from .kept import FILE as FILE
from .kept import SCHEMA as SCHEMA
from .kept import ClaimError as ClaimError
from .kept import begin as begin
from .kept import keep as keep
from .kept import load as load
from .rules import Samples as Samples
from .rules import always as always
from .rules import decided as decided
from .rules import figure as figure
from .rules import named as named
from .rules import part as part
from .rules import side as side
from .rules import together as together
