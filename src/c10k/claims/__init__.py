"""Claims: experiments, each with a decision rule that was fixed before it ran.

A claim is a module (in benchmarks/claims, or at any path) with

  WORDS       what is claimed, as people say it
  EXPERIMENT  what is done to test it
  RULE        when it is supported and when it is refuted, in words
  measure(setting) → samples: maps what was measured to one value per repetition. This is the
                     evidence, which is kept. A key is a text, or a named tuple, kept as text
  decide(samples)  → parts: a decision on each thing that is claimed; pure

A part about a figure is decided when its interval over the repetitions lies wholly on one
side of a bound. With too few repetitions, or too much variation, it is "not resolved". A
yes-or-no part is decided when the answer is the same each time. The parts together decide
the claim.

rules.py       decides parts, and claims from their parts
experiment.py  finds, reads and runs claims
kept.py        writes and reads the folder of outcomes
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
