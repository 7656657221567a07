"""The results of the conformance kit."""

from typing import Literal

from msgspec import Struct

from .declared import BoundedFloat

Grade = Literal["ok", "unclean", "informational", "failed"]


class CaseResult(Struct, frozen=True):
    """The result of one conformance case on one server."""

    case: str
    verdict: Grade  # unclean: shown, still timed; informational: shown, not judged
    detail: str = ""
    took_s: BoundedFloat = 0.0


class Conformance(Struct, frozen=True):
    """The results of the conformance kit for one server file with one set of versions."""

    server: str
    checked_at: str  # UTC, ISO 8601
    fingerprint: str  # of the server's files, the interpreter, the versions and the kit
    results: tuple[CaseResult, ...]

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        return tuple(result for result in self.results if result.verdict == "failed")

    @property
    def failure(self) -> str:
        """The first failure in words; "" when there is none."""
        first = next(iter(self.failures), None)
        return f"fails the check {first.case}: {first.detail}" if first else ""
