"""The conformance kit: does a server keep the contract of servers/README.md?

Usable without pytest. check() runs the CASES on one server, and the LONG ones when asked,
and says what it saw; checked() does so only when no earlier passing result is still valid.
"""

from .cases import CASES, Case
from .client import Failed, Informational, Unclean
from .long import LONG
from .run import anew, check, checked, chosen, fingerprint, remember, remembered

__all__ = [
    "CASES",
    "LONG",
    "Case",
    "Failed",
    "Informational",
    "Unclean",
    "anew",
    "check",
    "checked",
    "chosen",
    "fingerprint",
    "remember",
    "remembered",
]
