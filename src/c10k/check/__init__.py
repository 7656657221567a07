"""The conformance kit: does a server keep the contract of servers/README.md?

Usable without pytest. check() runs the CASES on one server and says what it saw;
checked() does so only when no earlier passing result is still valid.
"""

from .cases import CASES, Case
from .client import Failed
from .run import check, checked, fingerprint, remember, remembered

__all__ = [
    "CASES",
    "Case",
    "Failed",
    "check",
    "checked",
    "fingerprint",
    "remember",
    "remembered",
]
