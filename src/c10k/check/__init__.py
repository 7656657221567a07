"""The conformance kit: does a server keep the contract of servers/README.md?

Usable without pytest. check() runs the CASES on one server, and also the LONG ones when
asked, and returns what it saw. remembered() is an earlier check that passed, as long as
nothing that it depends on has changed.
"""

from .cases import CASES, Case
from .client import Failed, Informational, Unclean
from .long import LONG
from .run import check, chosen, remembered

__all__ = [
    "CASES",
    "LONG",
    "Case",
    "Failed",
    "Informational",
    "Unclean",
    "check",
    "chosen",
    "remembered",
]
